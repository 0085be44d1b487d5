// Receiving: what is ready goes out under a lease, and receives wait for what is not.
#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kDeliveryOverhead = 128;  // of one message in a receive reply

void write_delivery(DeliveryWriter& writer, const QueuePlace& key, Lsn lsn, const Queue& queue, const Lease& lease,
                    const RecordView& record) {
  DeliveryHead head{.receipt = {key.partition, lease.id.epoch, lsn, lease.id.number},
                    .deliveries = lease.deliveries,
                    .sent_ms = record.header.sent_ms,
                    .priority = record.header.priority,
                    .expires_ms = record.header.expires_ms,
                    .attributes = record.attributes,
                    .body_bytes = record.body.size()};
  if (const ReturnState* earlier = queue.returned(lsn)) {
    head.first_ms = earlier->first_ms;
    head.last_ms = earlier->last_ms;
    head.reason = earlier->reason;
  }
  writer.begin(head);
  writer.out().append(record.body);
}

}  // namespace

void Service::receive(const Call& call) {
  const Parked wish{call.request.to,
                    header_.id,
                    header_.max == 0 ? 1 : header_.max,
                    header_.max_bytes == 0 ? kReceiveBytesDefault : header_.max_bytes,
                    header_.lease_ms.value_or(settings_of(call.queue).lease_ms),
                    call.now.steady + header_.wait_ms.value_or(DurationMs{0}),
                    header_.ack_on_delivery,
                    std::string(header_.attempt),
                    std::string(header_.consumer)};
  if (Queue* const queue = call.partition.find_queue(call.queue)) wake(call.key(), *queue, call.now, call.out);
  if (!wish.attempt.empty()) {
    if (repeat_attempt(call)) return;
    unpark_attempt(call);
  }
  std::string payload = deliver(call.key(), wish, call.now, call.out);
  if (!payload.empty()) return hand_out(call.key(), wish, std::move(payload), call.out);
  if (wish.until <= call.now.steady) return answer(call, DeliveryWriter(8).finish());
  park(call, wish);
}

// What an earlier receive with this attempt id got, as far as its leases last. False: it got nothing, or all is over.
bool Service::repeat_attempt(const Call& call) {
  const auto* const got = attempts_.find(call.key(), header_.attempt, call.now.steady);
  const Queue* const queue = call.partition.find_queue(call.queue);
  if (got == nullptr || queue == nullptr || !may_deliver(call.partition, call.now)) return false;
  DeliveryWriter writer(8);
  bool keyed = false;
  for (const auto& [lsn, id] : *got) {
    const Lease* const lease = queue->lease(lsn, id);
    if (lease == nullptr) continue;
    const auto record = records_.read({call.partition.id(), lsn});
    if (!record) continue;
    keyed = keyed || record->header.key.value != 0;
    write_delivery(writer, call.key(), lsn, *queue, *lease, *record);
  }
  if (writer.count() == 0) return false;
  if (!keyed) {
    answer(call, writer.finish());
    return true;
  }
  answer_later(call, writer.finish());  // perhaps the leases are not committed yet
  call.turn.replies.back().confirm = Confirmation::kInSync;
  call.turn.replies.back().hands_out = true;
  return true;
}

// The client has given up the receive that still waits under this attempt id.
void Service::unpark_attempt(const Call& call) {
  const auto waiting = parked_.find(call.key());
  if (waiting == parked_.end()) return;
  const auto same = [this](const auto& each) { return each.second.attempt == header_.attempt; };
  const auto parked = std::find_if(waiting->second.begin(), waiting->second.end(), same);
  if (parked == waiting->second.end()) return;
  call.out.replies.push_back({parked->second.to, encode_ok_header(parked->second.id), DeliveryWriter(8).finish()});
  parked_until_.erase({parked->second.until, call.key(), parked->first});
  waiting->second.erase(parked);
  if (waiting->second.empty()) parked_.erase(waiting);
}

void Service::park(const Call& call, const Parked& parked) {
  if (parked_until_.size() >= limits_.parked_max) {
    return refuse(call, {Errc::kUnavailable, "too many receives wait here; try again, or wait in fewer of them"});
  }
  const Ticket ticket = next_ticket_++;
  parked_until_.emplace(parked.until, call.key(), ticket);
  parked_[call.key()].emplace(ticket, parked);
}

Consumers::Lasts Service::lasts(const Queue& queue) {
  return [&queue](const GivenLease& lease) { return queue.lease(lease.lsn, lease.id) != nullptr; };
}

// How many more of so many may be leased at the same time.
std::uint64_t Service::may_lease(const QueuePlace& key, const Queue& queue, const Parked& wish) {
  const QueueLimits& limits = settings_of(key.queue).limits;
  std::uint64_t most = wish.max;
  const auto bound = [&most](std::uint64_t limit, std::uint64_t leased) {
    if (limit != 0) most = leased >= limit ? 0 : std::min(most, limit - leased);
  };
  bound(limits.leased, queue.counts().leased);
  if (limits.leased_by_one != 0 && !wish.consumer.empty())
    bound(limits.leased_by_one, consumers_.holds(key, wish.consumer, lasts(queue)));
  return most;
}

// Then it is not its turn, but that of whoever waits behind it.
bool Service::has_all_it_may(const QueuePlace& key, const Parked& wish) {
  const std::uint64_t limit = settings_of(key.queue).limits.leased_by_one;
  const Queue* const queue = limit == 0 || wish.consumer.empty() ? nullptr : find_queue(key);
  return queue != nullptr && consumers_.holds(key, wish.consumer, lasts(*queue)) >= limit;
}

// What a consumer held that is silent for longer than it said is as good as its lease's end.
void Service::end_silent(const Now& now) {
  for (const auto& [key, held] : consumers_.gone(now.steady)) {
    Queue* const queue = find_queue(key);
    if (queue == nullptr) continue;
    for (const GivenLease& each : held) {
      const Lease* const lease = queue->lease(each.lsn, each.id);
      // One of an ordering key that is not committed yet has not begun.
      if (lease != nullptr && lease->deadline < TimeMs{INT64_MAX}) queue->extend(each.lsn, each.id, now.steady);
    }
    watch(key, *queue);
  }
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
  std::vector<GivenLease> got;
  const bool named = !wish.ack_on_delivery && (!wish.attempt.empty() || !wish.consumer.empty());
  handed_over_acks_.clear();
  handed_over_leases_.clear();
  const std::uint64_t most = may_lease(key, *queue, wish);
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
    // Of which key a message is whose record is damaged, a leader that found it so at its start cannot tell.
    const bool hides_others = partition.replica().unclean() && !partition.replica().alone();
    if (keyed && (!takes_appends || hides_others)) break;
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
    write_delivery(*writer, key, lsn, *queue, lease, *record);
    if (named) got.push_back({lsn, lease.id});
    if (wish.ack_on_delivery) {
      queue->begin_settle(lsn, lease.id);
      handed_over_acks_.push_back({lsn, lease.bytes});
    } else if (keyed) {
      handed_over_leases_.push_back({lsn, lease.bytes, {lease.id, wish.lease, now.wall}});
    }
    bytes += body;
    ++count;
  }
  if (!writer) return {};
  if (!got.empty() && !wish.consumer.empty())
    consumers_.took(key, wish.consumer, got, now.steady, wish.lease, lasts(*queue));
  if (!got.empty() && !wish.attempt.empty()) attempts_.put(key, wish.attempt, std::move(got), now.steady + wish.lease);
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
  for (auto next = waiting->second.begin(); next != waiting->second.end();) {
    if (has_all_it_may(key, next->second)) {
      ++next;
      continue;
    }
    std::string payload = deliver(key, next->second, now, out);
    if (payload.empty()) return;
    hand_out(key, next->second, std::move(payload), out);
    parked_until_.erase({next->second.until, key, next->first});
    next = waiting->second.erase(next);
  }
  if (!waiting->second.empty()) return;
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
