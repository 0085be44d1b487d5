// Receiving: what is ready goes out under a lease, and receives wait for what is not.
#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kDeliveryOverhead = 128;  // of one message in a receive reply

}  // namespace

void Service::receive(const Call& call) {
  const Parked wish{call.request.to,
                    header_.id,
                    header_.max == 0 ? 1 : header_.max,
                    header_.max_bytes == 0 ? kReceiveBytesDefault : header_.max_bytes,
                    header_.lease_ms.value_or(settings_of(call.queue).lease_ms),
                    call.now.steady + header_.wait_ms.value_or(DurationMs{0}),
                    header_.ack_on_delivery};
  if (Queue* const queue = call.partition.find_queue(call.queue)) wake(call.key(), *queue, call.now, call.out);
  std::string payload = deliver(call.key(), wish, call.now, call.out);
  if (!payload.empty()) return hand_out(call.key(), wish, std::move(payload), call.out);
  if (wish.until <= call.now.steady) return answer(call, DeliveryWriter(8).finish());
  park(call, wish);
}

void Service::park(const Call& call, const Parked& parked) {
  if (parked_until_.size() >= limits_.parked_max) {
    return refuse(call, {Errc::kUnavailable, "too many receives wait here; try again, or wait in fewer of them"});
  }
  const Ticket ticket = next_ticket_++;
  parked_until_.emplace(parked.until, call.key(), ticket);
  parked_[call.key()].emplace(ticket, parked);
}

// How many more of so many may be leased at the same time.
std::uint64_t Service::may_lease(const Queue& queue, const QueueSettings& settings, std::uint64_t wanted) {
  if (settings.limits.leased == 0) return wanted;
  const std::uint64_t leased = queue.counts().leased;
  return leased >= settings.limits.leased ? 0 : std::min(wanted, settings.limits.leased - leased);
}

std::string Service::deliver(const QueuePlace& key, const Parked& wish, const Now& now, Outbox& out) {
  Queue* const queue = find_queue(key);
  if (queue == nullptr) return {};
  queue->wake(now.steady);
  const QueueSettings& settings = settings_of(key.queue);
  if (settings.pause_receive || !queue->has_ready()) return {};
  queue->set_weights(settings.priority_weights);
  Partition& partition = partitions_.at(key.partition);
  if (!may_deliver(partition, now) || partition.is_emptying(key.queue)) return {};
  const bool takes_appends = partition.replica().takes_appends();
  if (wish.ack_on_delivery && !takes_appends) return {};
  std::optional<DeliveryWriter> writer;
  std::uint64_t bytes = 0;
  handed_over_acks_.clear();
  handed_over_leases_.clear();
  const std::uint64_t most = may_lease(*queue, settings, wish.max);
  for (std::uint64_t count = 0; count < most && queue->has_ready();) {
    const Lsn lsn = *queue->first_ready();
    const auto record = records_.read({key.partition, lsn});
    if (!record && record.error().code == Errc::kUnavailable) break;
    if (!record) {
      found_damage(partition, lsn, record.error(), now, out);
      queue->set_aside(lsn, !partition.replica().alone());
      continue;
    }
    const bool keyed = record->header.key.value != 0;
    if (keyed && !takes_appends) break;
    // A reply with keys waits until it is committed, and leases without one begin at once.
    if (count > 0 && !wish.ack_on_delivery && keyed == handed_over_leases_.empty()) break;
    const std::size_t body = record->body.size();
    if (count > 0 && bytes + body > wish.max_bytes) break;
    if (!writer) {
      const std::uint64_t likely =
          std::min(wish.max, queue->counts().ready) * (body + record->attributes.size() + kDeliveryOverhead);
      writer.emplace(std::min<std::uint64_t>(
          likely, std::max<std::uint64_t>(wish.max_bytes, body) + wish.max * kDeliveryOverhead));
    }
    const Lease lease = queue->lease_first(partition.epoch(), now.steady + wish.lease,
                                           static_cast<std::uint32_t>(record_bytes(record->header)), now.wall);
    DeliveryHead head{.receipt = {key.partition, lease.id.epoch, lsn, lease.id.number},
                      .deliveries = lease.deliveries,
                      .sent_ms = record->header.sent_ms,
                      .priority = record->header.priority,
                      .expires_ms = record->header.expires_ms,
                      .attributes = record->attributes,
                      .body_bytes = body};
    if (const ReturnState* earlier = queue->returned(lsn)) {
      head.first_ms = earlier->first_ms;
      head.last_ms = earlier->last_ms;
      head.reason = earlier->reason;
    }
    if (wish.ack_on_delivery) {
      queue->begin_settle(lsn, lease.id);
      handed_over_acks_.push_back({lsn, lease.bytes});
    } else if (keyed) {
      handed_over_leases_.push_back({lsn, lease.bytes, {lease.id, wish.lease, now.wall}});
    }
    writer->begin(head);
    writer->out().append(record->body);
    bytes += body;
    ++count;
  }
  if (!writer) return {};
  count(key, Traffic::kDelivered, writer->count(), now);
  watch(key, *queue);
  return writer->finish();
}

void Service::wake(const QueuePlace& key, Queue& queue, const Now& now, Outbox& out) {
  if (queue.wake(now.steady)) serve_parked(key, now, out);
}

void Service::hand_out(const QueuePlace& key, const Parked& wish, std::string payload, Outbox& out) {
  if (handed_over_acks_.empty() && handed_over_leases_.empty()) {
    out.replies.push_back({wish.to, encode_ok_header(wish.id), std::move(payload)});
  } else {
    handed_over_.push_back({key, wish.to, wish.id, std::move(payload), partitions_.at(key.partition).epoch(),
                            std::exchange(handed_over_acks_, {}), std::exchange(handed_over_leases_, {})});
  }
}

// What is received at most once leaves when it is durable that it is gone; a message with an ordering key when all
// who may lead know that it is out. Nothing may come into the log between the decision and its record.
void Service::log_handed_over(const Now& now, Turn& turn, Outbox& out) {
  if (handed_over_.empty()) return;
  for (HandedOver& handed : std::exchange(handed_over_, {})) log_one(std::move(handed), now, turn, out);
}

void Service::log_one(HandedOver&& handed, const Now& now, Turn& turn, Outbox& out) {
  Partition& partition = partitions_.at(handed.from.partition);
  if (!partition.replica().takes_appends() || partition.epoch() != handed.epoch) {
    if (Queue* const queue = find_queue(handed.from)) {
      for (const AckedMessage& ack : handed.acks) queue->restore(ack.lsn);
      for (const LeasedMessage& message : handed.leases) queue->undo_lease(message.lsn, message.lease.id);
      watch(handed.from, *queue);
    }
    const Error why = partition.epoch() == handed.epoch ? few_replicas() : leader_changed();
    out.replies.push_back({std::move(handed.to), encode_reply_header(handed.id, why), {}});
    return;
  }
  if (!handed.acks.empty())
    partition.append_control(RecordType::kAcks, handed.from.queue, std::move(handed.acks), now, turn);
  Confirmation confirm = settings_of(handed.from.queue).confirm;
  const bool hands_out = !handed.leases.empty();
  if (hands_out) {
    partition.append_control(RecordType::kLeases, handed.from.queue, std::move(handed.leases), now, turn);
    confirm = Confirmation::kInSync;
  }
  turn.replies.push_back({std::move(handed.to), handed.id, std::move(handed.payload), partition.id(), handed.epoch,
                          partition.replica().end(), confirm});
  turn.replies.back().hands_out = hands_out;
}

// Leases in the log whose message reached nobody: that they end is to be in the log too.
void Service::give_back_undelivered(const Now& now, Turn& turn) {
  for (const auto& [key, receipt] : std::exchange(undelivered_, {})) {
    Queue* const queue = find_queue(key);
    Partition& partition = partitions_.at(key.partition);
    if (queue == nullptr || !partition.replica().takes_appends()) continue;  // they end in their time
    if (!queue->begin_settle(receipt.lsn, receipt.lease_id())) continue;
    append_returns(partition, key.queue, {{receipt.lsn, as_it_was(queue->returned(receipt.lsn))}}, now, turn);
  }
}

void Service::serve_parked(const QueuePlace& key, const Now& now, Outbox& out) {
  const auto waiting = parked_.find(key);
  if (waiting == parked_.end()) return;
  while (!waiting->second.empty()) {
    const auto first = waiting->second.begin();
    std::string payload = deliver(key, first->second, now, out);
    if (payload.empty()) return;
    hand_out(key, first->second, std::move(payload), out);
    parked_until_.erase({first->second.until, key, first->first});
    waiting->second.erase(first);
  }
  parked_.erase(waiting);
}

void Service::undeliverable(const Envelope& envelope, std::string_view payload, const Now& now, Outbox& out) {
  Queue* const queue = find_queue({envelope.partition, envelope.queue});
  std::vector<Delivery> messages;
  if (queue == nullptr || !decode_deliveries(payload, payload_reader_, messages)) return;  // a reply of another kind
  for (const Delivery& message : messages) {
    const auto receipt = parse_receipt(message.receipt);
    if (receipt && queue->is_logged(receipt->lsn, receipt->lease_id())) {
      undelivered_.emplace_back(QueuePlace{envelope.partition, envelope.queue}, *receipt);
    } else if (receipt) {
      queue->undo_lease(receipt->lsn, receipt->lease_id());
    }
  }
  serve_parked({envelope.partition, envelope.queue}, now, out);
}

void Service::expire_parked(const Now& now, Outbox& out) {
  while (!parked_until_.empty() && std::get<TimeMs>(*parked_until_.begin()) <= now.steady) {
    const auto [until, key, ticket] = *parked_until_.begin();
    parked_until_.erase(parked_until_.begin());
    const auto waiting = parked_.find(key);
    const auto parked = waiting->second.find(ticket);
    out.replies.push_back({parked->second.to, encode_ok_header(parked->second.id), DeliveryWriter(8).finish()});
    waiting->second.erase(parked);
    if (waiting->second.empty()) parked_.erase(waiting);
  }
}

void Service::unpark_all(Outbox& out) {
  for (const auto& [key, waiting] : parked_) {
    for (const auto& [ticket, parked] : waiting) {
      out.replies.push_back({parked.to, encode_ok_header(parked.id), DeliveryWriter(8).finish()});
    }
  }
  parked_.clear();
  parked_until_.clear();
}

void Service::serve_all_parked(PartitionId partition, const Now& now, Outbox& out) {
  std::vector<QueuePlace> waiting;
  for (auto at = parked_.lower_bound({partition, {}}); at != parked_.end() && at->first.partition == partition; ++at) {
    waiting.push_back(at->first);
  }
  for (const QueuePlace& key : waiting) serve_parked(key, now, out);
}

void Service::hold_lease(TimeMs until, const Now& now, Outbox& out) {
  const bool lapsed = now.steady >= std::exchange(lease_until_, until);
  if (!lapsed || now.steady >= until) return;
  for (const PartitionId id : replicated_) serve_all_parked(id, now, out);
}

// Another worker leads now: a client that asks again is sent there.
void Service::unpark(PartitionId partition, Outbox& out) {
  for (auto waiting = parked_.lower_bound({partition, {}});
       waiting != parked_.end() && waiting->first.partition == partition; waiting = parked_.erase(waiting)) {
    for (const auto& [ticket, parked] : waiting->second) {
      out.replies.push_back({parked.to, encode_ok_header(parked.id), DeliveryWriter(8).finish()});
      parked_until_.erase({parked.until, waiting->first, ticket});
    }
  }
}

}  // namespace dmq
