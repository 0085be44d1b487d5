// Receiving: what is ready goes out under a lease, and receives wait for what is not.
#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kDeliveryOverhead = 128;   // of one message in a receive reply
constexpr std::uint64_t kPushMessagesMax = 100;  // to one subscription, before the next one has its turn

Error too_many_receivers() {
  return {Errc::kUnavailable, "too many receives and subscriptions wait here; try again, or have fewer of them"};
}

auto has_name(std::string_view name) {
  return [name](const Receiver& each) { return each.name == name; };
}

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
  Receiver wish;
  wish.to = call.request.to;
  wish.id = header_.id;
  wish.max = header_.max == 0 ? 1 : header_.max;
  wish.max_bytes = header_.max_bytes == 0 ? kReceiveBytesDefault : header_.max_bytes;
  wish.lease = header_.lease_ms.value_or(settings_of(call.queue).lease_ms);
  wish.until = call.now.steady + header_.wait_ms.value_or(DurationMs{0});
  wish.ack_on_delivery = header_.ack_on_delivery;
  wish.attempt = header_.attempt;
  wish.consumer = header_.consumer;
  wish.name = header_.subscription;
  if (Queue* const queue = call.partition.find_queue(call.queue)) wake(call.key(), *queue, call.now, call.out);
  if (!wish.attempt.empty()) {
    if (repeat_attempt(call)) return;
    end_attempt(call);
  }
  std::string payload = deliver(call.key(), wish, call.now, call.out);
  if (!payload.empty()) return hand_out(call.key(), wish, std::move(payload), call.out);
  if (wish.until <= call.now.steady) return answer(call, DeliveryWriter(8).finish());
  if (receivers_.size() >= limits_.receivers_max) return refuse(call, too_many_receivers());
  receivers_.add(call.key(), std::move(wish));
}

// Answered at once, whatever there is, so that the client knows that it is subscribed.
void Service::subscribe(const Call& call) {
  if (call.request.envelope.delimiter) {
    return refuse(call, {Errc::kInvalidArgument,
                         "a subscription has many replies: it needs a DEALER socket, and no delimiter frame"});
  }
  Receiver receiver;
  receiver.to = call.request.to;
  receiver.id = header_.id;
  receiver.max = header_.credit.value_or(kCreditDefault);
  receiver.max_bytes = header_.credit_bytes == 0 ? kCreditBytesDefault : header_.credit_bytes;
  receiver.lease = header_.lease_ms.value_or(settings_of(call.queue).lease_ms);
  receiver.until = call.now.steady + header_.wait_ms.value_or(DurationMs{kSubscriptionMsDefault});
  receiver.consumer = header_.consumer;
  receiver.name = header_.subscription;
  receiver.subscribes = true;
  auto before = receivers_.take(call.key(), has_name(header_.subscription));
  if (before) {
    receiver.held = std::move(before->held);
    if (before->id != receiver.id) tell_end({std::move(*before)}, call.out);
  } else if (receivers_.size() >= limits_.receivers_max) {
    return refuse(call, too_many_receivers());
  }
  if (Queue* const queue = call.partition.find_queue(call.queue)) wake(call.key(), *queue, call.now, call.out);
  std::string payload = deliver(call.key(), receiver, call.now, call.out);
  hand_out(call.key(), receiver, payload.empty() ? DeliveryWriter(8).finish() : std::move(payload), call.out);
  receivers_.add(call.key(), std::move(receiver));
  serve(call.key(), call.now, call.out);
}

// What it holds stays with the client.
void Service::unsubscribe(const Call& call) {
  if (auto ended = receivers_.take(call.key(), has_name(header_.subscription))) tell_end({std::move(*ended)}, call.out);
  answer(call, {});
}

// What an earlier receive with this attempt id got, as far as its leases last. False: it got nothing, or all is over.
bool Service::repeat_attempt(const Call& call) {
  const auto* const got = attempts_.find(call.key(), header_.attempt, call.now.steady);
  const Queue* const queue = call.partition.find_queue(call.queue);
  if (got == nullptr || queue == nullptr || !may_deliver(call.partition, call.now)) return false;
  DeliveryWriter writer(8);
  for (const auto& [lsn, id] : *got) {
    const Lease* const lease = queue->lease(lsn, id);
    if (lease == nullptr) continue;
    const auto record = records_.read({call.partition.id(), lsn});
    if (!record) continue;
    // Until its lease is committed nobody has it; and then what is behind that in the log may have removed it.
    if (record->header.key.value != 0 && !queue->is_logged(lsn, id)) {
      refuse(call, {Errc::kUnavailable, "the messages of this attempt are not committed to it yet; try again"});
      return true;
    }
    write_delivery(writer, call.key(), lsn, *queue, *lease, *record);
  }
  if (writer.count() == 0) return false;
  attempts_.tell_again(call.key(), header_.attempt);
  answer(call, writer.finish());
  return true;
}

// The client has given up the receive that still waits under this attempt id.
void Service::end_attempt(const Call& call) {
  const auto same = [this](const Receiver& each) { return each.attempt == header_.attempt; };
  if (auto given_up = receivers_.take(call.key(), same)) tell_end({std::move(*given_up)}, call.out);
}

Consumers::Lasts Service::lasts(const Queue& queue) {
  return [&queue](const GivenLease& lease) { return queue.lease(lease.lsn, lease.id) != nullptr; };
}

// How much more may be leased to it at the same time, in one reply.
Service::Share Service::may_lease(const QueuePlace& key, const Queue& queue, Receiver& receiver) {
  const QueueSettings& settings = settings_of(key.queue);
  Share share{receiver.max, receiver.max_bytes};
  if (receiver.is_subscription()) {
    const Receiver::Unsettled has = receiver.unsettled(queue);
    if (has.messages >= receiver.max || has.bytes >= receiver.max_bytes) return {};
    share = {std::min(receiver.max - has.messages, kPushMessagesMax),
             std::min<std::uint64_t>(receiver.max_bytes - has.bytes, kReceiveBytesDefault)};
  }
  const auto bound = [&share](std::uint64_t limit, std::uint64_t leased) {
    if (limit != 0) share.messages = leased >= limit ? 0 : std::min(share.messages, limit - leased);
  };
  bound(share_of(settings.limits.leased, settings), queue.counts().leased);
  if (settings.limits.leased_by_one != 0 && !receiver.consumer.empty())
    bound(share_of(settings.limits.leased_by_one, settings), consumers_.holds(key, receiver.consumer, lasts(queue)));
  return share;
}

// Then it is not its turn, but that of whoever waits behind it.
bool Service::has_all_it_may(const QueuePlace& key, Receiver& receiver) {
  const Queue* const queue = find_queue(key);
  if (queue == nullptr) return false;
  if (receiver.has_all(*queue)) return true;
  const std::uint64_t limit = share_of(settings_of(key.queue).limits.leased_by_one, settings_of(key.queue));
  return limit != 0 && !receiver.consumer.empty() && consumers_.holds(key, receiver.consumer, lasts(*queue)) >= limit;
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

std::string Service::deliver(const QueuePlace& key, Receiver& wish, const Now& now, Outbox& out) {
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
  const bool named =
      !wish.ack_on_delivery && (!wish.attempt.empty() || !wish.consumer.empty() || wish.is_subscription());
  handed_over_acks_.clear();
  handed_over_leases_.clear();
  const Share share = may_lease(key, *queue, wish);
  for (std::uint64_t count = 0; count < share.messages && queue->has_ready();) {
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
    if (count > 0 && bytes + body > share.bytes) break;
    if (!writer) {
      const std::uint64_t likely =
          std::min(share.messages, queue->counts().ready) * (body + record->attributes.size() + kDeliveryOverhead);
      writer.emplace(std::min<std::uint64_t>(
          likely, std::max<std::uint64_t>(share.bytes, body) + share.messages * kDeliveryOverhead));
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
  if (wish.is_subscription()) wish.held.insert(wish.held.end(), got.begin(), got.end());
  if (!got.empty() && !wish.attempt.empty()) attempts_.put(key, wish.attempt, std::move(got), now.steady + wish.lease);
  count(key, Traffic::kDelivered, writer->count(), now);
  watch(key, *queue);
  return writer->finish();
}

void Service::wake(const QueuePlace& key, Queue& queue, const Now& now, Outbox& out) {
  if (queue.wake(now.steady)) serve(key, now, out);
}

void Service::hand_out(const QueuePlace& key, const Receiver& receiver, std::string payload, Outbox& out) {
  if (handed_over_acks_.empty() && handed_over_leases_.empty()) {
    out.replies.push_back({receiver.to, encode_ok_header(receiver.id, receiver.replies()), std::move(payload)});
  } else {
    handed_over_.push_back({key, receiver.to, receiver.id, receiver.consumer, receiver.replies(), std::move(payload),
                            partitions_.at(key.partition).epoch(), std::exchange(handed_over_acks_, {}),
                            std::exchange(handed_over_leases_, {})});
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
  turn.replies.back().replies = handed.replies;
  turn.replies.back().consumer = std::move(handed.consumer);
  turn.replies.back().counted.queue = handed.from.queue;
}

// Leases in the log whose message reached nobody: that they end is to be in the log too.
void Service::give_back_undelivered(const Now& now, Turn& turn) {
  for (const auto& [key, receipt] : std::exchange(undelivered_, {})) {
    Queue* const queue = find_queue(key);
    Partition& partition = partitions_.at(key.partition);
    const Replica& replica = partition.replica();
    if (queue == nullptr || !replica.takes_appends() || !replica.delivers()) continue;  // they end in their time
    if (!queue->begin_settle(receipt.lsn, receipt.lease_id())) continue;
    append_returns(partition, key.queue, {{receipt.lsn, as_it_was(queue->returned(receipt.lsn))}}, now, turn);
  }
}

// In turn: a receive leaves, and a subscription goes behind the others until its credit is used up.
void Service::serve(const QueuePlace& key, const Now& now, Outbox& out) {
  Receivers::Line* const line = receivers_.line(key);
  Queue* const queue = line == nullptr ? nullptr : find_queue(key);
  if (queue == nullptr) return;
  queue->wake(now.steady);
  for (auto next = line->begin(); next != line->end() && queue->has_ready();) {
    if (has_all_it_may(key, next->second)) {
      ++next;
      continue;
    }
    std::string payload = deliver(key, next->second, now, out);
    if (payload.empty()) break;
    hand_out(key, next->second, std::move(payload), out);
    next = next->second.is_subscription() ? receivers_.to_back(key, next) : receivers_.remove(key, next);
  }
  receivers_.drop_empty(key);
}

void Service::undeliverable(std::string_view router, const Envelope& envelope, std::string_view payload, const Now& now,
                            Outbox& out) {
  const QueuePlace key{envelope.partition, envelope.queue};
  const auto is_gone = [&](const Receiver& each) {
    if (!each.is_subscription() || each.to.router != router) return false;
    const auto its = decode_envelope(each.to.envelope);
    return its && its->client == envelope.client && its->admin == envelope.admin;
  };
  while (receivers_.take(key, is_gone)) {
  }
  Queue* const queue = find_queue(key);
  std::vector<Delivery> messages;
  if (queue == nullptr || !decode_deliveries(payload, payload_reader_, messages)) return;  // a reply of another kind
  for (const Delivery& message : messages) {
    const auto receipt = parse_receipt(message.receipt);
    // Another reply tells of it too, and may have arrived.
    if (receipt && attempts_.is_told_again(key, {receipt->lsn, receipt->lease_id()})) continue;
    if (receipt && queue->is_logged(receipt->lsn, receipt->lease_id())) {
      undelivered_.emplace_back(key, *receipt);
    } else if (receipt) {
      queue->undo_lease(receipt->lsn, receipt->lease_id());
    }
  }
  serve(key, now, out);
}

// Nothing more comes to them.
void Service::tell_end(std::vector<Receiver> receivers, Outbox& out) {
  for (Receiver& receiver : receivers)
    out.replies.push_back({std::move(receiver.to), encode_ok_header(receiver.id), DeliveryWriter(8).finish()});
}

void Service::end_receivers(Outbox& out) { tell_end(receivers_.take_all(), out); }

// Another worker leads now: a client that asks again is sent there.
void Service::end_receivers(PartitionId partition, Outbox& out) { tell_end(receivers_.take_all_of(partition), out); }

void Service::serve_all(PartitionId partition, const Now& now, Outbox& out) {
  for (const QueuePlace& key : receivers_.queues_of(partition)) serve(key, now, out);
}

void Service::hold_lease(TimeMs until, const Now& now, Outbox& out) {
  const bool lapsed = now.steady >= std::exchange(lease_until_, until);
  if (!lapsed || now.steady >= until) return;
  for (const PartitionId id : replicated_) serve_all(id, now, out);
}

}  // namespace dmq
