// What goes through queues: counting, and telling it.
#include <algorithm>

#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::int64_t kWindowMsMin = 1000;  // of a queue that was first used a moment ago

}  // namespace

// One look-up for the messages of a whole request.
void Service::count(const QueuePlace& key, Traffic kind, std::uint64_t messages, const Now& now) {
  if (messages == 0 || catalog_.is_deleted(key.queue)) return;
  meters_.try_emplace(key, Metered{now, {}}).first->second.meter.count(kind, messages, now.steady);
}

// Once it is confirmed.
void Service::count_later(const Call& call, Traffic kind, std::uint64_t messages) {
  call.turn.replies.back().counted = {call.queue, kind, messages};
}

void Service::stats(const Call& call) {
  const QueueInfo* info = catalog_.find_queue(call.queue);
  if (info == nullptr)
    return refuse(call, {Errc::kUnavailable, "this worker has not heard of the queue yet; try again"});
  const auto metered = meters_.find(call.key());
  QueueStats stats;
  stats.name = info->name;
  stats.status = status_of(call);
  stats.at_ms = stats.since_ms = call.now.wall;
  stats.oldest_ms = oldest_ready(call.key());
  stats.recent_ms = QueueMeter::window(call.now.steady);
  if (metered != meters_.end()) {
    const auto& [since, meter] = metered->second;
    stats.since_ms = since.wall;
    stats.totals = meter.totals();
    stats.recent = meter.recent(call.now.steady);
    const std::int64_t known = std::max((call.now.steady - since.steady).value, kWindowMsMin);
    stats.recent_ms.value = std::min(stats.recent_ms.value, known);
  }
  answer(call, encode_queue_stats(stats));
}

// When it was sent, 0: there is none. One record is read.
TimeMs Service::oldest_ready(const QueuePlace& key) {
  const Queue* queue = find_queue(key);
  if (queue == nullptr) return {};
  const auto page = queue->page(MessageState::kReady, BrowseOrder::kOldest, {}, 1);
  if (!page || page->lsns.empty()) return {};
  const auto record = records_.read({key.partition, page->lsns.front()});
  return record ? record->header.sent_ms : TimeMs{};
}

}  // namespace dmq
