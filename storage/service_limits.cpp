// Limits of a queue: what is taken when it is full, and what makes room.
#include "storage/service.hpp"

#include <algorithm>

#include "protocol/parts.hpp"

namespace dmq {
namespace {

constexpr std::size_t kTakeOutPage = 256;  // of the messages that may have to go

// `asked`: how many messages the request would add.
Error queue_full(const QueueSettings& settings, std::size_t asked) {
  const QueueLimits& limits = settings.limits;
  const std::uint64_t messages = share_of(limits.messages, settings);
  std::string what = settings.partitions == 1 ? "the queue has no room: it takes up to "
                                              : "a partition of the queue has no room: it takes up to ";
  if (messages != 0) what += std::to_string(messages) + " messages";
  if (limits.bytes != 0)
    what += (messages != 0 ? " or " : "") + std::to_string(share_of(limits.bytes, settings)) + " bytes";
  const bool never = messages != 0 && asked > messages;
  return {Errc::kQueueFull, what + (never ? "; send fewer at once, or raise max_messages"
                                          : "; receive and ack some, or raise max_messages or max_bytes")};
}

}  // namespace

// A body that the queue does not take is refused like one that no queue takes.
void Service::check_items(const Call& call) {
  const QueueSettings& settings = settings_of(call.queue);
  const std::uint64_t most = settings.limits.message_bytes;
  const QueueInfo* const info = settings.partitions == 1 ? nullptr : catalog_.find_queue(call.queue);
  const auto part = info == nullptr ? std::nullopt : part_at(*info, call.partition.id(), catalog_.partitions());
  for (SendItem& item : items_) {
    if (item.error.code != Errc::kOk) continue;
    if (part && !item.key.empty() && part_of_key(ordering_key(item.key), settings) != *part) {
      item.error = {Errc::kInvalidArgument, "messages with this key belong into partition " +
                                                std::to_string(part_of_key(ordering_key(item.key), settings)) +
                                                " of the queue, not into " + std::to_string(*part) +
                                                "; leave `partition` out, or send each key to its own"};
      continue;
    }
    if (!item.options.dedup_id.empty() && !header_.producer.empty()) {
      item.error = {Errc::kInvalidArgument,
                    "a request has a producer, or messages with a `dedup_id`, not both: either tells repeats apart"};
    } else if (most != 0 && item.body.size() > most) {
      item.error = {Errc::kTooLarge, "the body has " + std::to_string(item.body.size()) +
                                         " bytes; this queue takes up to " + std::to_string(most)};
    }
  }
}

// How much of the limits would be exceeded by so much more.
Service::Excess Service::excess(const Partition& partition, QueueId queue, std::uint64_t messages,
                                std::uint64_t bytes) const {
  const QueueLimits& limits = settings_of(queue).limits;
  if (limits.messages == 0 && limits.bytes == 0) return {};
  const Partition::Load load = partition.load(queue);
  const auto over = [](std::uint64_t there, std::uint64_t more, std::uint64_t most) {
    return most == 0 || there + more <= most ? 0 : there + more - most;
  };
  const QueueSettings& settings = settings_of(queue);
  return {over(load.messages, messages, share_of(limits.messages, settings)),
          over(load.bytes, bytes, share_of(limits.bytes, settings)), load.moving};
}

// For the messages of a request but those that are `repeated`, as the queue's policy says. Errors: queue_full.
Result<void> Service::make_room(const Call& call, const std::vector<const SendItem*>& good,
                                const std::vector<std::size_t>& repeated) {
  const QueueSettings& settings = settings_of(call.queue);
  const QueueLimits& limits = settings.limits;
  if (limits.messages == 0 && limits.bytes == 0) return {};
  const std::size_t known =
      call.partition.producers().duplicates(call.queue, header_.producer, header_.sequence, good.size());
  const std::size_t fresh = good.size() - known - repeated.size();
  if (fresh == 0) return {};
  std::uint64_t bytes = 0;
  for (std::size_t i = known; i < good.size(); ++i) {
    if (std::binary_search(repeated.begin(), repeated.end(), i)) continue;
    const std::string_view id = good[i]->options.dedup_id;
    bytes += kRecordHeaderBytes + header_.producer.size() + (id.empty() ? 0 : 1 + id.size());
    bytes += good[i]->attributes.size() + good[i]->body.size();
  }
  const Excess over = excess(call.partition, call.queue, fresh, bytes);
  if (over.messages == 0 && over.bytes == 0) return {};
  const QueueId dead_letter = limits.when_full == WhenFull::kDeadLetter ? dead_letter_of(call.queue) : QueueId{};
  const bool may_take_out = limits.when_full == WhenFull::kDropOldest || dead_letter.value != 0;
  // What moves to another queue has its bytes until it is there.
  if (!may_take_out || (over.bytes > 0 && over.moving)) return tl::unexpected<Error>(queue_full(settings, fresh));
  if (take_out_oldest(call, over, dead_letter)) return {};
  return tl::unexpected<Error>(queue_full(settings, fresh));
}

// All that is needed, or nothing: false. Leased messages stay: their consumers may be done with them.
bool Service::take_out_oldest(const Call& call, const Excess& over, QueueId dead_letter) {
  Queue* const queue = call.partition.find_queue(call.queue);
  if (queue == nullptr || !call.partition.replica().delivers()) return false;
  Acks acks;
  Returns returns;
  std::uint64_t bytes = 0;
  std::optional<PagePlace> from = PagePlace{};
  const auto enough = [&] { return acks.size() >= over.messages && bytes >= over.bytes; };
  while (from && !enough()) {
    const StatePage page = *queue->page(MessageState::kReady, BrowseOrder::kOldest, *from, kTakeOutPage);
    for (auto lsn = page.lsns.begin(); lsn != page.lsns.end() && !enough(); ++lsn) {
      const auto record = records_.read({call.partition.id(), *lsn});
      if (!record) found_damage(call.partition, *lsn, record.error(), call.now, call.out);
      if (!record) continue;
      const auto size = static_cast<std::uint32_t>(record_bytes(record->header));
      bytes += size;
      acks.push_back({*lsn, size});
      returns.push_back({*lsn, as_it_was(queue->returned(*lsn))});
      returns.back().state.move = {MoveCause::kQueueFull, target_of(dead_letter, record->header.key, *lsn)};
    }
    from = page.reached;
  }
  if (!enough()) return false;
  for (const AckedMessage& ack : acks) queue->withdraw(ack.lsn);
  if (dead_letter.value != 0) {
    append_returns(call.partition, call.queue, std::move(returns), call.now, call.turn);
  } else {
    call.partition.append_control(RecordType::kAcks, call.queue, std::move(acks), call.now, call.turn);
  }
  return true;
}

// Those that are with a consumer, or dead, stay.
void Service::take_out_replaced(Partition& partition, const std::vector<Partition::Applied::Replaced>& replaced,
                                const Now& now, Turn& turn, Outbox& out) {
  if (!partition.replica().leads() || !partition.replica().takes_appends()) return;
  std::map<QueueId, Acks> acks;
  for (const auto& [id, lsn] : replaced) {
    Queue* const queue = partition.find_queue(id);
    const auto look = queue == nullptr ? std::nullopt : queue->look(lsn);
    if (!look || (look->state != MessageState::kReady && look->state != MessageState::kDelayed)) continue;
    const auto record = records_.read({partition.id(), lsn});
    if (!record) found_damage(partition, lsn, record.error(), now, out);
    if (record && queue->withdraw(lsn))
      acks[id].push_back({lsn, static_cast<std::uint32_t>(record_bytes(record->header))});
  }
  for (auto& [id, all] : acks) partition.append_control(RecordType::kAcks, id, std::move(all), now, turn);
}

}  // namespace dmq
