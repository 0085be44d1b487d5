// Leases and consumers that are kept: the requests that their tables ask for, and what comes back for them.
#include "clients/cpp/client_loop.hpp"
#include "clients/cpp/lease.hpp"
#include "runtime/clock.hpp"

namespace dmq {

void ClientLoop::keep_leases(const std::vector<Lease>& leases, DurationMs lease, LostCallback on_lost) {
  if (leases.empty() || closed_) return;
  const std::shared_ptr<LeaseHolder> holder = leases.front().holder_;
  RenewalBatch batch{holder->queue(), lease, {}, {}};
  for (const Lease& each : leases) batch.held.emplace(each.receipt_, each.id_);
  batch.on_lost = [holder = std::weak_ptr(holder), on_lost = std::move(on_lost)](const LostLease& lost) {
    if (const auto still_there = holder.lock()) still_there->note_lost(lost.receipt);
    if (on_lost) on_lost(lost);
  };
  const std::uint64_t id = next_id_++;
  holder->set_renewal(id);
  renewals_.add(id, std::move(batch), drained_at_);
}

void ClientLoop::renew_due(TimeMs now) {
  while (auto renewal = closed_ ? std::nullopt : renewals_.next_due(now)) {
    RequestHeader header;
    header.op = Op::kExtend;
    header.queue = renewal->queue;
    header.lease_ms = renewal->lease;
    const std::vector<std::string_view> receipts(renewal->receipts.begin(), renewal->receipts.end());
    start(header, std::make_shared<const std::string>(encode_receipts(receipts)), DurationMs{0},
          [this, renewal = *renewal](const Reply& reply) { on_renewed(renewal, reply); });
  }
  while (true) {
    const LostLeases lost = renewals_.take_expired(now);
    if (lost.leases.empty()) return;
    tell_lost(lost);
  }
}

void ClientLoop::on_renewed(const Renewal& renewal, const Reply& reply) {
  std::optional<Failure> failure = reply.failure;
  std::vector<std::string> stale;
  if (!failure) {
    const auto items = decode_results(reply.payload, reader_);
    if (!items || items->size() != renewal.receipts.size()) {
      failure = Failure{"malformed", "the broker's reply to an extend cannot be read", false};
    }
    for (std::size_t i = 0; !failure && i < items->size(); ++i) {
      const ItemResult& item = (*items)[i];
      if (item.code == Errc::kStaleReceipt) {
        stale.push_back(renewal.receipts[i]);
      } else if (item.code != Errc::kOk) {
        failure = Failure{std::string(code_name(item.code)), item.text, is_retryable(item.code)};
      }
    }
  }
  tell_lost(failure ? renewals_.on_failure(renewal.batch, *failure, steady_now())
                    : renewals_.on_answer(renewal.batch, stale));
}

void ClientLoop::tell_lost(const LostLeases& lost) {
  const InCallback in_callback(in_callback_);
  for (const LostLease& lease : lost.leases) {
    if (lost.on_lost) lost.on_lost(lease);
  }
}

void ClientLoop::send_heartbeats(TimeMs now) {
  while (auto heartbeat = closed_ ? std::nullopt : heartbeats_.next_due(now)) {
    RequestHeader header;
    header.op = Op::kHeartbeat;
    header.queue = heartbeat->queue;
    header.consumer = heartbeat->consumer;
    header.heartbeat_ms = heartbeat->silence;
    start(header, nullptr, DurationMs{0}, [this, heartbeat = *heartbeat](const Reply& reply) {
      if (!reply.failure) return heartbeats_.on_answer(heartbeat);
      heartbeats_.on_failure(heartbeat, reply.failure->retry, steady_now());
    });
  }
}

}  // namespace dmq
