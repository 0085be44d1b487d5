// Receives, and what ends their leases: acks, nacks, extensions and releases.
#include <algorithm>

#include "clients/cpp/client_loop.hpp"
#include "clients/cpp/lease.hpp"
#include "protocol/limits.hpp"
#include "runtime/clock.hpp"

namespace dmq {
namespace {

// A repeated ack or nack that is stale counts as done: its first try did it, or the lease is lost either way.
SettleResult count_results(const Reply& reply, bool repeat_is_done, MsgpackReader& reader) {
  SettleResult settled;
  settled.failure = reply.failure;
  if (settled.failure) return settled;
  const auto items = decode_results(reply.payload, reader);
  if (!items) {
    settled.failure = Failure{"malformed", "the broker's reply cannot be read: " + items.error().context, false};
    return settled;
  }
  for (const ItemResult& item : *items) {
    if (item.code == Errc::kOk) {
      ++settled.done;
    } else if (item.code == Errc::kStaleReceipt && reply.repeated && repeat_is_done) {
      ++settled.done;
      ++settled.presumed;
    } else if (item.code == Errc::kStaleReceipt) {
      ++settled.stale;
    } else {
      settled.failure = Failure{std::string(code_name(item.code)), item.text, is_retryable(item.code)};
    }
  }
  return settled;
}

}  // namespace

void ClientLoop::receive(std::string_view queue, const ReceiveOptions& options, ReceiveCallback done) {
  RequestHeader header;
  header.op = Op::kReceive;
  header.queue = queue;
  header.max = std::clamp<std::size_t>(options.max, 1, kBatchMessagesMax);
  header.max_bytes = options.max_bytes;
  const DurationMs wait{std::clamp<std::int64_t>(options.wait.count(), 0, kWaitMsMax)};
  if (wait.value != 0) header.wait_ms = wait;
  header.ack_on_delivery = options.ack_on_delivery;
  header.attempt = options.attempt;
  header.consumer = options.consumer;
  if (options.heartbeat.count() != 0) header.heartbeat_ms = DurationMs{options.heartbeat.count()};
  if (options.lease.count() != 0) header.lease_ms = DurationMs{options.lease.count()};
  if (options.auto_extend && !header.lease_ms) header.lease_ms = DurationMs{kLeaseMsDefault};
  const auto keep = options.auto_extend && !options.ack_on_delivery ? header.lease_ms : std::nullopt;
  if (header.heartbeat_ms && !options.consumer.empty() && !closed_)
    heartbeats_.note_sign(queue, options.consumer, *header.heartbeat_ms, steady_now());
  start(header, nullptr, wait,
        [this, name = std::string(queue), held = !options.ack_on_delivery, keep, on_lost = options.on_lost,
         done = std::move(done)](const Reply& reply) {
          ReceiveResult result;
          result.failure = reply.failure;
          if (!result.failure) {
            try {
              result.leases = make_leases(name, reply, held);
            } catch (const ClientError& error) {
              result.failure = error.failure();
            }
          }
          if (keep) keep_leases(result.leases, *keep, on_lost);
          done(std::move(result));
        });
}

std::vector<Lease> ClientLoop::make_leases(std::string_view queue, const Reply& reply, bool held) {
  std::vector<Delivery> deliveries;
  if (const auto decoded = decode_deliveries(reply.payload, reader_, deliveries); !decoded) {
    throw ClientError({"malformed", "the broker's reply cannot be read: " + decoded.error().context, false});
  }
  const auto holder = std::make_shared<LeaseHolder>(weak_from_this(), std::string(queue), reply.owner);
  return holder->make_leases(deliveries, held);
}

void ClientLoop::settle(RequestHeader header, Lease* leases, std::size_t count, SettleCallback done) {
  std::vector<std::string_view> receipts;
  receipts.reserve(count);
  std::shared_ptr<LeaseHolder> holder;
  for (Lease* lease = leases; lease != leases + count; ++lease) {
    if (!lease->held_) continue;
    if (holder != nullptr && lease->holder_->queue() != holder->queue()) {
      throw ClientError({"invalid_argument", "the leases of one call must be of one queue", false});
    }
    holder = lease->holder_;
    receipts.push_back(lease->receipt_);
  }
  if (receipts.empty()) {
    if (done) done(SettleResult{});
    return;
  }
  header.queue = holder->queue();
  const bool ends = header.op != Op::kExtend;
  start(header, std::make_shared<const std::string>(encode_receipts(receipts)), DurationMs{0},
        [this, ends, done = std::move(done)](const Reply& reply) {
          const SettleResult settled = count_results(reply, ends, reader_);
          if (done) {
            done(settled);
          } else if (settled.failure && !unattended_) {
            unattended_ = settled.failure;
          }
        });
  if (!ends) return;
  for (Lease* lease = leases; lease != leases + count; ++lease) {
    if (lease->held_) lease->holder_->on_settled(lease->receipt_);
    lease->held_ = false;
  }
}

void ClientLoop::note_released(const std::shared_ptr<LeaseHolder>& holder, bool at_once) {
  if (closed_) return;
  released_.push_back(holder);
  if (at_once) give_back_released();
}

void ClientLoop::give_back_released() {
  const auto holders = std::exchange(released_, {});
  for (const auto& holder : holders) {
    const auto receipts = holder->take_released();
    if (receipts.empty() || closed_) continue;
    RequestHeader header;
    header.op = Op::kNack;
    header.queue = holder->queue();
    // No callback and no complaint: a lease that is over by now needs no giving back.
    start(header, std::make_shared<const std::string>(encode_receipts(receipts)), DurationMs{0}, {});
  }
}

}  // namespace dmq
