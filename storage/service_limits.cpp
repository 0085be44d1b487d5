// Limits of a queue: what is taken when it is full, and what makes room.
#include <algorithm>

#include "storage/service.hpp"

namespace dmq {
namespace {

Error queue_full(const QueueLimits& limits) {
  std::string what;
  if (limits.messages != 0) what += std::to_string(limits.messages) + " messages";
  if (limits.bytes != 0) what += (what.empty() ? "" : " or ") + std::to_string(limits.bytes) + " bytes";
  return {Errc::kQueueFull, "the queue has no room: it takes up to " + what +
                                "; receive and ack some, or raise max_messages or max_bytes"};
}

}  // namespace

// A body that the queue does not take is refused like one that no queue takes.
void Service::check_sizes(QueueId queue) {
  const std::uint64_t most = settings_of(queue).limits.message_bytes;
  if (most == 0) return;
  for (SendItem& item : items_) {
    if (item.error.code != Errc::kOk || item.body.size() <= most) continue;
    item.error = {Errc::kTooLarge, "the body has " + std::to_string(item.body.size()) +
                                       " bytes; this queue takes up to " + std::to_string(most)};
  }
}

// How much of the limits would be exceeded by so much more.
Service::Excess Service::excess(const Call& call, std::uint64_t messages, std::uint64_t bytes) const {
  const QueueLimits& limits = settings_of(call.queue).limits;
  const Partition::Load load = call.partition.load(call.queue);
  const auto over = [](std::uint64_t there, std::uint64_t more, std::uint64_t most) {
    return most == 0 || there + more <= most ? 0 : there + more - most;
  };
  return {over(load.messages, messages, limits.messages), over(load.bytes, bytes, limits.bytes), load.moving};
}

// For the messages of a request, as the queue's policy says. Errors: queue_full.
Result<void> Service::make_room(const Call& call, const std::vector<const SendItem*>& good) {
  const QueueLimits& limits = settings_of(call.queue).limits;
  if (limits.messages == 0 && limits.bytes == 0) return {};
  if (call.partition.producers().duplicates(call.queue, header_.producer, header_.sequence, good.size()) == good.size())
    return {};
  std::uint64_t bytes = 0;
  for (const SendItem* item : good) {
    bytes += kRecordHeaderBytes + header_.producer.size() + item->attributes.size() + item->body.size();
  }
  const Excess over = excess(call, good.size(), bytes);
  if (over.messages == 0 && over.bytes == 0) return {};
  const QueueId dead_letter = limits.when_full == WhenFull::kDeadLetter ? dead_letter_of(call.queue) : QueueId{};
  const bool may_take_out = limits.when_full == WhenFull::kDropOldest || dead_letter.value != 0;
  // What moves to another queue has its bytes until it is there.
  if (!may_take_out || (over.bytes > 0 && over.moving)) return tl::unexpected<Error>(queue_full(limits));
  return take_out_oldest(call, over, dead_letter);
}

// All that is needed or nothing. Leased messages stay: their consumers may be done with them.
Result<void> Service::take_out_oldest(const Call& call, const Excess& over, QueueId dead_letter) {
  const QueueLimits& limits = settings_of(call.queue).limits;
  Queue* const queue = call.partition.find_queue(call.queue);
  if (queue == nullptr || !call.partition.replica().delivers()) return tl::unexpected<Error>(queue_full(limits));
  std::vector<Lsn> oldest;
  queue->ready(oldest);
  std::sort(oldest.begin(), oldest.end());
  Acks acks;
  Returns returns;
  std::uint64_t bytes = 0;
  for (auto lsn = oldest.begin(); lsn != oldest.end() && (acks.size() < over.messages || bytes < over.bytes); ++lsn) {
    const auto record = records_.read({call.partition.id(), *lsn});
    if (!record) found_damage(call.partition, *lsn, record.error(), call.now, call.out);
    if (!record) continue;
    const auto size = static_cast<std::uint32_t>(record_bytes(record->header));
    bytes += size;
    acks.push_back({*lsn, size});
    const ReturnState* earlier = queue->returned(*lsn);
    returns.push_back({*lsn, earlier == nullptr ? ReturnState{} : *earlier});
    returns.back().state.move = {MoveCause::kQueueFull, dead_letter};
  }
  if (acks.size() < over.messages || bytes < over.bytes) return tl::unexpected<Error>(queue_full(limits));
  for (const AckedMessage& ack : acks) queue->withdraw(ack.lsn);
  if (dead_letter.value != 0) {
    append_returns(call.partition, call.queue, std::move(returns), call.now, call.turn);
  } else {
    call.partition.append_control(RecordType::kAcks, call.queue, std::move(acks), call.now, call.turn);
  }
  return {};
}

}  // namespace dmq
