// Ends of leases: acks, nacks, extensions, and time.
#include <algorithm>

#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kExpirePerTick = 1000;
constexpr std::size_t kForgetPerTick = 1000;
constexpr DurationMs kForgetEvery{60'000};

}  // namespace

bool Service::is_ours(const Call& call, const Receipt& receipt) const {
  return receipt.partition == call.partition.id() && call.partition.knows(receipt.epoch);
}

// What is settled becomes one record of the log; the reply waits until that is committed.
void Service::settle(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  if (!call.partition.replica().takes_appends()) return refuse(call, few_replicas());
  const bool ack = header_.op == Op::kAck;
  const DurationMs delay = header_.delay_ms.value_or(DurationMs{0});
  const TimeMs ready_ms = delay.value == 0 ? TimeMs{} : call.now.wall + delay;
  Queue* const queue = call.partition.find_queue(call.queue);
  Acks acks;
  Returns returns;
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && is_ours(call, *receipt);
    const auto lease = ours ? queue->begin_settle(receipt->lsn, receipt->lease) : std::nullopt;
    if (!lease) {
      results.error({Errc::kStaleReceipt, {}});
      continue;
    }
    if (ack) {
      acks.push_back({receipt->lsn, lease->bytes});
    } else {
      returns.push_back({receipt->lsn, lease->deliveries, ready_ms});
    }
    results.ok();
  }
  if (!acks.empty()) call.partition.append_control(RecordType::kAcks, call.queue, std::move(acks), call.now, call.turn);
  if (!returns.empty())
    call.partition.append_control(RecordType::kReturns, call.queue, std::move(returns), call.now, call.turn);
  answer_later(call, results.finish());
}

void Service::extend(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  const TimeMs deadline = call.now.steady + header_.lease_ms.value_or(settings_of(call.queue).lease_ms);
  Queue* const queue = call.partition.find_queue(call.queue);
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && is_ours(call, *receipt);
    ours && queue->extend(receipt->lsn, receipt->lease, deadline) ? results.ok()
                                                                  : results.error({Errc::kStaleReceipt, {}});
  }
  if (queue != nullptr) watch(call.key(), *queue);
  answer(call, results.finish());
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
  for (const auto& [lsn, lease] : expired_) returns.push_back({lsn, lease.deliveries, {}});
  if (!returns.empty())
    partitions_.at(key.partition).append_control(RecordType::kReturns, key.queue, std::move(returns), now, turn);
}

// They are done for good, as if a consumer had acked them.
void Service::remove_expired(const QueuePlace& key, Queue& queue, const Now& now, Turn& turn, Outbox& out) {
  std::vector<Lsn> expired;
  queue.take_expired(kExpirePerTick, expired);
  if (expired.empty()) return;
  Partition& partition = partitions_.at(key.partition);
  Acks acks;
  for (const Lsn lsn : expired) {
    const auto record = records_.read({key.partition, lsn});
    if (record) {
      acks.push_back({lsn, static_cast<std::uint32_t>(record_bytes(record->header))});
    } else if (record.error().code == Errc::kUnavailable) {
      queue.restore(lsn);
    } else {
      found_damage(partition, lsn, record.error(), now, out);
      queue.set_aside(lsn);
    }
  }
  if (!acks.empty()) partition.append_control(RecordType::kAcks, key.queue, std::move(acks), now, turn);
}

void Service::forget_idle_producers(const Now& now, Turn& turn) {
  producers_due_ = now.steady + std::min(kForgetEvery, limits_.producer_idle);
  const TimeMs before{now.wall.value - limits_.producer_idle.value};
  for (auto& [id, partition] : partitions_) {
    if (partition.replica().takes_appends()) partition.forget_idle_producers(before, kForgetPerTick, now, turn);
  }
}

}  // namespace dmq
