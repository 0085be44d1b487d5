// Limits of a queue: what is taken when it is full, and what makes room.
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kTakeOutPage = 256;  // of the messages that may have to go

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
Service::Excess Service::excess(const Partition& partition, QueueId queue, std::uint64_t messages,
                                std::uint64_t bytes) const {
  const QueueLimits& limits = settings_of(queue).limits;
  if (limits.messages == 0 && limits.bytes == 0) return {};
  const Partition::Load load = partition.load(queue);
  const auto over = [](std::uint64_t there, std::uint64_t more, std::uint64_t most) {
    return most == 0 || there + more <= most ? 0 : there + more - most;
  };
  return {over(load.messages, messages, limits.messages), over(load.bytes, bytes, limits.bytes), load.moving};
}

// For the messages of a request, as the queue's policy says. Errors: queue_full.
Result<void> Service::make_room(const Call& call, const std::vector<const SendItem*>& good) {
  const QueueLimits& limits = settings_of(call.queue).limits;
  if (limits.messages == 0 && limits.bytes == 0) return {};
  const std::size_t known =
      call.partition.producers().duplicates(call.queue, header_.producer, header_.sequence, good.size());
  if (known == good.size()) return {};
  std::uint64_t bytes = 0;
  for (std::size_t i = known; i < good.size(); ++i) {
    bytes += kRecordHeaderBytes + header_.producer.size() + good[i]->attributes.size() + good[i]->body.size();
  }
  const Excess over = excess(call.partition, call.queue, good.size() - known, bytes);
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
      returns.back().state.move = {MoveCause::kQueueFull, dead_letter};
    }
    from = page.reached;
  }
  if (!enough()) return tl::unexpected<Error>(queue_full(limits));
  for (const AckedMessage& ack : acks) queue->withdraw(ack.lsn);
  if (dead_letter.value != 0) {
    append_returns(call.partition, call.queue, std::move(returns), call.now, call.turn);
  } else {
    call.partition.append_control(RecordType::kAcks, call.queue, std::move(acks), call.now, call.turn);
  }
  return {};
}

}  // namespace dmq
