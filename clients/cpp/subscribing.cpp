// Subscriptions: the requests that the subscription table asks for, and the messages that come by them.
#include <algorithm>

#include "clients/cpp/client_loop.hpp"
#include "clients/cpp/lease.hpp"
#include "protocol/limits.hpp"
#include "runtime/clock.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

// How long the lease of its messages is to be kept up; empty: it is not.
std::optional<DurationMs> kept_lease(const SubscribeOptions& options) {
  if (!options.auto_extend) return std::nullopt;
  return DurationMs{options.lease.count() != 0 ? options.lease.count() : kLeaseMsDefault};
}

}  // namespace

void ClientLoop::subscribe(std::string_view queue, const SubscribeOptions& options, ReceiveCallback got) {
  if (const auto good = check_queue_name(queue); !good)
    throw ClientError({"invalid_argument", good.error().context, false});
  if (closed_) throw ClientError({"closed", "the client is closed", false});
  if (subscriptions_.find(queue))
    throw ClientError({"invalid_argument", "this client subscribes to '" + std::string(queue) + "' already", false});
  const std::uint64_t id = next_id_++;
  subscriptions_.add(id, {std::string(queue), name_ + "-" + std::to_string(id), options, std::move(got)}, steady_now());
  subscribe_due(steady_now());
}

void ClientLoop::subscribe_due(TimeMs now) {
  while (const auto id = closed_ ? std::nullopt : subscriptions_.next_due(now)) {
    const Subscription& subscription = *subscriptions_.find(*id);
    const SubscribeOptions& options = subscription.options;
    RequestHeader header;
    header.op = Op::kSubscribe;
    header.id = *id;
    header.queue = subscription.queue;
    header.subscription = subscription.name;
    header.credit = options.credit;
    header.credit_bytes = options.credit_bytes;
    header.wait_ms = SubscriptionTable::kLasts;
    header.consumer = options.consumer;
    if (options.heartbeat.count() != 0 && !options.consumer.empty()) {
      header.heartbeat_ms = DurationMs{options.heartbeat.count()};
      heartbeats_.note_sign(subscription.queue, options.consumer, *header.heartbeat_ms, now);
    }
    if (options.lease.count() != 0) header.lease_ms = DurationMs{options.lease.count()};
    if (const auto kept = kept_lease(options)) header.lease_ms = *kept;
    start(header, nullptr, DurationMs{0},
          [this, id = *id](const Reply& reply) { on_subscription_failed(id, *reply.failure); });
  }
}

// A reply to a subscribe: its first one, messages, or its end.
void ClientLoop::on_push(std::uint64_t id, const ReplyHeader& header, zmq::message_t payload, TimeMs now) {
  auto request = requests_.take(id);
  if (header.code != Errc::kOk && !header.retry)
    return on_subscription_failed(id, {std::string(code_name(header.code)), header.message, false});
  if (header.code != Errc::kOk && request && now + DurationMs{200} < request->give_up_at) {
    request->last_answer = Failure{std::string(code_name(header.code)), header.message, true};
    return requests_.retry_later(std::move(*request), now);
  }
  if (header.code != Errc::kOk) return subscriptions_.on_end(id, now);
  Reply reply;
  const auto frame = std::make_shared<zmq::message_t>(std::move(payload));
  reply.payload = bytes_of(*frame);
  reply.owner = frame;
  const bool is_left = subscriptions_.is_left(id);
  if (!header.more) {
    subscriptions_.on_end(id, now);
  } else if (request) {
    subscriptions_.on_answer(id, now);
  }
  hand_over_pushed(id, reply, is_left);
}

void ClientLoop::hand_over_pushed(std::uint64_t id, const Reply& reply, bool give_back) {
  const Subscription& subscription = *subscriptions_.find(id);
  ReceiveResult result;
  try {
    result.leases = make_leases(subscription.queue, reply, true);
  } catch (const ClientError& error) {
    return on_subscription_failed(id, error.failure());
  }
  if (result.leases.empty()) return;
  if (give_back) {
    return settle(nack_header({Nack::kGiveBack, {}, {}}), result.leases.data(), result.leases.size(),
                  [](const SettleResult&) {});
  }
  if (const auto kept = kept_lease(subscription.options))
    keep_leases(result.leases, *kept, subscription.options.on_lost);
  const ReceiveCallback got = subscription.got;  // which may unsubscribe
  const InCallback in_callback(in_callback_);
  got(std::move(result));
}

void ClientLoop::on_subscription_failed(std::uint64_t id, const Failure& failure) {
  const auto subscription = subscriptions_.take(id);
  if (!subscription) return;
  ReceiveResult result;
  result.failure = failure;
  const InCallback in_callback(in_callback_);
  subscription->got(std::move(result));
}

void ClientLoop::unsubscribe(std::string_view queue) {
  if (const auto id = subscriptions_.find(queue)) leave(*id);
}

void ClientLoop::unsubscribe_all() {
  while (const auto id = subscriptions_.any()) leave(*id);
}

// What is on its way still comes, and goes back.
void ClientLoop::leave(std::uint64_t id) {
  requests_.take(id);
  subscriptions_.leave(id);
  const Subscription& subscription = *subscriptions_.find(id);
  RequestHeader header;
  header.op = Op::kUnsubscribe;
  header.queue = subscription.queue;
  header.subscription = subscription.name;
  start(header, nullptr, DurationMs{0}, [this, id](const Reply&) { subscriptions_.take(id); });
}

}  // namespace dmq
