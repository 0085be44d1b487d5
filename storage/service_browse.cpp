// Looking at a queue's messages without taking them, and taking all of them away.
#include <algorithm>

#include "protocol/browse.hpp"
#include "protocol/limits.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kWalkRecordsMax = 5'000;             // of the log, for one page
constexpr std::uint64_t kReadBytesMax = kReceiveBytesMax;  // of records, for one page: bodies are read whole

TimeMs wall_of(TimeMs steady, const Now& now) { return now.wall + (steady - now.steady); }

}  // namespace

// Rule 3, and rule 11.
bool Service::may_deliver(const Partition& partition, const Now& now) const {
  return partition.replica().delivers() && (now.steady < lease_until_ || partition.replica().alone());
}

// --- browse ----------------------------------------------------------------------------------------------------------

void Service::browse(const Call& call) {
  const auto cursor = header_.after.empty() ? BrowseCursor{call.partition.id(), {}, kPriorities - 1}
                                            : parse_cursor(header_.after).value_or(BrowseCursor{{UINT16_MAX}, {}});
  if (cursor.partition != call.partition.id())
    return refuse(call,
                  {Errc::kInvalidArgument, "`after` is no cursor of this queue: give the last page's as it came"});
  if (!may_deliver(call.partition, call.now))
    return refuse(call, {Errc::kUnavailable, "this worker may not hand messages out now; try again"});
  if (Queue* const queue = call.partition.find_queue(call.queue)) wake(call.key(), *queue, call.now, call.out);
  const std::size_t most = header_.max == 0 ? kBrowseDefault : header_.max;
  const PagePlace after{cursor.lsn, cursor.priority};
  answer(call, show(call, after, look_for(after, most, call)));
}

// The next messages of the state. Of very many that are in no order the log is walked, a bounded part of it.
StatePage Service::look_for(PagePlace after, std::size_t most, const Call& call) {
  const Queue* const queue = call.partition.find_queue(call.queue);
  if (queue == nullptr) return {};
  if (auto page = queue->page(header_.state, header_.order, after, most)) return std::move(*page);
  StatePage page;
  std::size_t records = 0;
  std::uint64_t bytes = 0;
  const auto visit = [&](Lsn lsn, std::string_view, const Result<RecordView>& record) {
    const bool ours = record && record->header.type == RecordType::kMessage && record->header.queue == call.queue;
    const auto look = ours ? queue->look(lsn) : std::nullopt;
    if (look && look->state == header_.state) page.lsns.push_back(lsn);
    bytes += record ? record_bytes(record->header) : 0;
    if (page.lsns.size() < most && ++records < kWalkRecordsMax && bytes < kReadBytesMax) return true;
    page.reached = {lsn};
    return false;
  };
  // When the store cannot be read now, the client asks again from the same place.
  if (!records_.scan({call.partition.id(), {after.lsn.value + 1}}, visit)) return {{}, after};
  return page;
}

// As many of them as the request lets through.
std::string Service::show(const Call& call, PagePlace after, const StatePage& page) {
  const Queue* const queue = call.partition.find_queue(call.queue);
  const std::uint64_t bytes_max = header_.max_bytes == 0 ? kReceiveBytesDefault : header_.max_bytes;
  BrowseWriter writer;
  std::uint64_t shown = 0;
  std::uint64_t read = 0;
  std::optional<PagePlace> last;
  const auto finish = [&](const std::optional<PagePlace>& reached) {
    const auto next = reached ? std::nullopt : next_part(call);
    if (next) return writer.finish(BrowseCursor{*next, {}, kPriorities - 1});
    if (!reached) return writer.finish(std::nullopt);
    return writer.finish(BrowseCursor{call.partition.id(), reached->lsn, reached->priority});
  };
  for (const Lsn lsn : page.lsns) {
    const auto look = queue->look(lsn);
    const auto record = records_.read({call.partition.id(), lsn});
    if (!record && record.error().code == Errc::kUnavailable) return finish(last.value_or(after));
    if (!record) {
      found_damage(call.partition, lsn, record.error(), call.now, call.out);
      continue;
    }
    const RecordHeader& header = record->header;
    const std::string_view body = record->body.substr(0, header_.body_bytes.value_or(record->body.size()));
    if (last && (shown + body.size() > bytes_max || read + record_bytes(header) > kReadBytesMax)) return finish(last);
    shown += body.size();
    read += record_bytes(header);
    const ReturnState* state = queue->returned(lsn);
    writer.add({call.partition.id(), lsn, look->state, look->deliveries, header.sent_ms, header.priority,
                header.expires_ms, look->until ? wall_of(*look->until, call.now) : TimeMs{}, record->body.size(),
                record->attributes, state == nullptr ? std::string_view() : move_cause_name(state->move.cause),
                state == nullptr ? std::string_view() : std::string_view(state->reason)},
               body);
    last = {lsn, header_.order == BrowseOrder::kNext ? header.priority : Priority{0}};
  }
  return finish(page.reached);
}

// --- purge -----------------------------------------------------------------------------------------------------------

// A record of the log, so that every replica removes the same messages: those that are before it.
void Service::purge(const Call& call) {
  if (!call.partition.replica().takes_appends()) return refuse(call, few_replicas());  // rule 9
  call.partition.append_control(RecordType::kPurge, call.queue, {}, call.now, call.turn);
  answer_later(call, {});
  // How many there are shows when it is applied.
  call.turn.replies.back().confirm = Confirmation::kInSync;
  call.turn.replies.back().tells_purged = true;
}

void Service::tell_purged(Partition& partition, const Partition::Applied::Purged& purged) {
  const Lsn end{purged.at.value + 1};
  auto& waiting = partition.waiting();
  const auto reply = std::find_if(waiting.begin(), waiting.end(),
                                  [end](const PendingReply& each) { return each.tells_purged && each.end == end; });
  if (reply != waiting.end()) reply->payload = encode_purged(purged.messages);
}

}  // namespace dmq
