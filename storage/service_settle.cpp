// Ends of leases: acks, nacks, extensions, and time.
#include <xxhash.h>

#include <algorithm>

#include "protocol/parts.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kExpirePerTick = 1000;
constexpr DurationMs kForgetEvery{1000};

// Where the jitter of a delay comes from: another number for each message and each time.
std::uint64_t scatter(const QueuePlace& key, Lsn lsn, std::uint32_t deliveries) {
  return XXH3_64bits_withSeed(&lsn.value, sizeof lsn.value, std::uint64_t{key.partition.value} << 32 | deliveries);
}

}  // namespace

// What is settled becomes a record of the log; the reply waits until that is committed.
void Service::settle(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  if (!call.partition.replica().takes_appends()) return refuse(call, few_replicas());
  if (may_have_ended(call)) return refuse(call, not_ready());
  const bool ack = header_.op == Op::kAck;
  Queue* const queue = call.partition.find_queue(call.queue);
  Acks acks;
  Returns returns;
  std::size_t settled = 0;
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && receipt->partition == call.partition.id();
    const auto lease = ours ? queue->begin_settle(receipt->lsn, receipt->lease_id()) : std::nullopt;
    if (!lease) {
      results.error({Errc::kStaleReceipt, {}});
      continue;
    }
    if (ack) {
      acks.push_back({receipt->lsn, lease->bytes});
    } else {
      returns.push_back({receipt->lsn, nacked(call, *queue, receipt->lsn, *lease)});
    }
    results.ok();
    ++settled;
  }
  if (!acks.empty()) call.partition.append_control(RecordType::kAcks, call.queue, std::move(acks), call.now, call.turn);
  append_returns(call.partition, call.queue, std::move(returns), call.now, call.turn);
  answer_later(call, results.finish());
  count_later(call, ack ? Traffic::kAcked : Traffic::kReturned, settled);
}

// A lease that an earlier leader gave: what it wrote of its end may not be applied here yet.
bool Service::may_have_ended(const Call& call) const {
  if (call.partition.replica().delivers()) return false;
  return std::any_of(receipts_.begin(), receipts_.end(), [&](std::string_view text) {
    const auto receipt = parse_receipt(text);
    return receipt && receipt->epoch < call.partition.epoch();
  });
}

// Of a message that comes back as if it had not been out.
ReturnState Service::as_it_was(const ReturnState* earlier) {
  ReturnState state = earlier == nullptr ? ReturnState{} : *earlier;
  state.lease = {};
  return state;
}

// What a nack makes of a message.
ReturnState Service::nacked(const Call& call, const Queue& queue, Lsn lsn, const Lease& lease) const {
  const ReturnState* earlier = queue.returned(lsn);
  if (header_.kind == NackKind::kGiveBack) {
    ReturnState state = as_it_was(earlier);
    state.ready_ms = header_.delay_ms.value_or(DurationMs{0}).value == 0 ? TimeMs{} : call.now.wall + *header_.delay_ms;
    return state;
  }
  ReturnState state = failed(call.key(), queue, lsn, lease, call.now);
  if (!header_.reason.empty()) state.reason = header_.reason;
  if (header_.kind == NackKind::kFatal) {
    state.move = {MoveCause::kRejected, target_of(dead_letter_of(call.queue), queue.key(lsn), lsn)};
  } else if (header_.delay_ms && !state.move.is_set()) {
    state.ready_ms = header_.delay_ms->value == 0 ? TimeMs{} : call.now.wall + *header_.delay_ms;
  }
  return state;
}

// A delivery that counted and led to nothing: the queue's retry policy says what follows.
ReturnState Service::failed(const QueuePlace& key, const Queue& queue, Lsn lsn, const Lease& lease,
                            const Now& now) const {
  const RetryPolicy& retry = settings_of(key.queue).retry;
  const ReturnState* const earlier = queue.returned(lsn);
  ReturnState state;
  state.deliveries = lease.deliveries;
  state.first_ms = earlier == nullptr || earlier->first_ms.value == 0 ? lease.given_ms : earlier->first_ms;
  state.last_ms = lease.given_ms;
  if (earlier != nullptr) state.reason = earlier->reason;
  if (retry.max_deliveries != 0 && state.deliveries >= retry.max_deliveries) {
    state.move = {MoveCause::kMaxDeliveries, target_of(dead_letter_of(key.queue), queue.key(lsn), lsn)};
    return state;
  }
  const DurationMs delay = retry_delay(retry, state.deliveries, scatter(key, lsn, state.deliveries));
  if (delay.value > 0) state.ready_ms = now.wall + delay;
  return state;
}

// 0: it has none, or none that is there.
QueueId Service::dead_letter_of(QueueId queue) const {
  const std::string& name = settings_of(queue).dead_letter;
  const QueueInfo* info = name.empty() ? nullptr : catalog_.find_queue(name);
  return info == nullptr || info->id == queue ? QueueId{} : info->id;
}

// Which part of a queue of several takes a message that goes there. Its key says, so that it comes in line there.
QueueId Service::target_of(QueueId queue, OrderingKey key, Lsn lsn) const {
  const QueueSettings& settings = settings_of(queue);
  if (queue.value == 0 || settings.partitions == 1) return queue;
  const std::uint64_t any = lsn.value % settings.partitions;
  return move_target(queue, key.value != 0 ? part_of_key(key, settings) : static_cast<std::uint16_t>(any));
}

// A message that leaves has a record of its own, whose place is its mark.
void Service::append_returns(Partition& partition, QueueId queue, Returns returns, const Now& now, Turn& turn) {
  for (ReturnedMessage& message : returns) {
    if (message.state.move.is_set())
      partition.append_control(RecordType::kReturns, queue, Returns{std::move(message)}, now, turn);
  }
  std::erase_if(returns, [](const ReturnedMessage& message) { return message.state.move.is_set(); });
  if (!returns.empty()) partition.append_control(RecordType::kReturns, queue, std::move(returns), now, turn);
}

void Service::extend(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  if (may_have_ended(call)) return refuse(call, not_ready());
  const DurationMs duration = header_.lease_ms.value_or(settings_of(call.queue).lease_ms);
  const TimeMs deadline = call.now.steady + duration;
  Queue* const queue = call.partition.find_queue(call.queue);
  Leases logged;
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && receipt->partition == call.partition.id();
    const LeaseId id = ours ? receipt->lease_id() : LeaseId{};
    const Lease* lease = ours ? queue->lease(receipt->lsn, id) : nullptr;
    if (lease == nullptr) {
      results.error({Errc::kStaleReceipt, {}});
      continue;
    }
    // In the log it must be before it is told: who leads next goes by that.
    if (queue->is_logged(receipt->lsn, id)) {
      if (!call.partition.replica().takes_appends()) {
        results.error(few_replicas());
        continue;
      }
      logged.push_back({receipt->lsn, lease->bytes, {id, duration, lease->given_ms}});
    }
    queue->extend(receipt->lsn, id, deadline);
    results.ok();
  }
  if (queue != nullptr) watch(call.key(), *queue);
  if (logged.empty()) return answer(call, results.finish());
  call.partition.append_control(RecordType::kLeases, call.queue, std::move(logged), call.now, call.turn);
  answer_later(call, results.finish());
}

void Service::watch(const QueuePlace& key, const Queue& queue) {
  const auto deadline = queue.next_deadline();
  const auto old = watched_.find(key);
  if (old != watched_.end()) {
    if (deadline && *deadline == old->second) return;
    watch_.erase({old->second, key});
    watched_.erase(old);
  }
  if (!deadline) return;
  watched_.emplace(key, *deadline);
  watch_.emplace(*deadline, key);
}

void Service::expire_leases(const QueuePlace& key, Queue& queue, const Now& now, Turn& turn) {
  expired_.clear();
  queue.expire(now.steady, kExpirePerTick, expired_);
  Returns returns;
  for (const auto& [lsn, lease] : expired_) returns.push_back({lsn, failed(key, queue, lsn, lease, now)});
  count(key, Traffic::kReturned, returns.size(), now);
  append_returns(partitions_.at(key.partition), key.queue, std::move(returns), now, turn);
}

// They are done for good, as if a consumer had acked them, or go where the dead ones go.
void Service::remove_expired(const QueuePlace& key, Queue& queue, const Now& now, Turn& turn, Outbox& out) {
  std::vector<Lsn> expired;
  queue.take_expired(kExpirePerTick, expired);
  if (expired.empty()) return;
  Partition& partition = partitions_.at(key.partition);
  const QueueId dead_letter = dead_letter_of(key.queue);
  Acks acks;
  Returns returns;
  for (const Lsn lsn : expired) {
    if (dead_letter.value != 0) {
      returns.push_back({lsn, as_it_was(queue.returned(lsn))});
      returns.back().state.move = {MoveCause::kExpired, target_of(dead_letter, queue.key(lsn), lsn)};
      continue;
    }
    const auto record = records_.read({key.partition, lsn});
    if (record) {
      acks.push_back({lsn, static_cast<std::uint32_t>(record_bytes(record->header))});
    } else if (record.error().code == Errc::kUnavailable) {
      queue.restore(lsn);
    } else {
      found_damage(partition, lsn, record.error(), now, out);
      queue.set_aside(lsn, !partition.replica().alone());
    }
  }
  count(key, Traffic::kExpired, acks.size() + returns.size(), now);
  if (!acks.empty()) partition.append_control(RecordType::kAcks, key.queue, std::move(acks), now, turn);
  append_returns(partition, key.queue, std::move(returns), now, turn);
}

void Service::forget_producers(const Now& now, Turn& turn) {
  producers_due_ = now.steady + std::min(kForgetEvery, limits_.producer_idle);
  for (auto& [id, partition] : partitions_) {
    if (!partition.replica().takes_appends()) continue;
    const auto is_over = [&](const Producers::Row& row) {
      const char kind = row.first.second.front();
      if (kind == kTransferProducer) return false;
      const DurationMs since = now.wall - row.second.applied.used_ms;
      if (kind != kDedupProducer && kind != kReplacingProducer) return since > limits_.producer_idle;
      const DedupPolicy& dedup = settings_of(row.first.first).dedup;
      return dedup.mode == DedupMode::kWindow ? since >= dedup.window_ms : !partition.is_present(row);
    };
    partition.forget_producers(is_over, now, turn);
  }
}

}  // namespace dmq
