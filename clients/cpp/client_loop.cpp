// See client_loop.hpp. What leaves: sends in the order of their streams, then requests in their own order.
#include "clients/cpp/client_loop.hpp"

#include <algorithm>
#include <random>

#include "clients/cpp/lease.hpp"
#include "clients/cpp/value_codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "runtime/clock.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

// 128 random bits: no two clients of a broker ever share a producer id.
std::string random_name() {
  std::random_device random;
  std::string name;
  for (int i = 0; i < 4; ++i) {
    for (std::uint32_t bits = random(), digit = 0; digit < 8; ++digit, bits >>= 4)
      name += "0123456789abcdef"[bits & 15];
  }
  return name;
}

ProducerLimits limits_of(const ClientOptions& options) {
  ProducerLimits limits;
  limits.window = std::max<std::size_t>(options.window, 1);
  limits.window_bytes = options.window_bytes;
  limits.request_timeout = DurationMs{options.request_timeout.count()};
  limits.retry_for = DurationMs{options.retry_for.count()};
  return limits;
}

std::string span_text(std::chrono::milliseconds span) {
  const auto ms = span.count();
  return ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

std::shared_ptr<Network> network_of(const ClientOptions& options) {
  return options.network != nullptr ? options.network : make_network();
}

}  // namespace

ClientLoop::ClientLoop(ClientOptions options)
    : options_(std::move(options)),
      name_(random_name()),
      link_(network_of(options_), options_.endpoints, steady_now()),
      producer_(name_, limits_of(options_)) {}

void ClientLoop::send(const ProducerCore::Message& message, SendCallback done, More more) {
  if (const auto good = check_queue_name(message.queue); !good)
    throw ClientError({"invalid_argument", good.error().context, false});
  if (message.body.size() > kMessageBytesMax) {
    throw ClientError({"too_large",
                       "a message of " + std::to_string(message.body.size()) + " bytes is over the limit of 16 MiB",
                       false});
  }
  if (closed_) throw ClientError({"closed", "the client is closed", false});
  if (!producer_.has_room(message.body.size()))
    run_until([&] { return producer_.has_room(message.body.size()); }, kNever);
  ProducerCore::Message placed = message;
  placed.lane = lane_of(message);
  const TimeMs now = steady_now();
  producer_.add(placed, std::move(done), more == More::kYes, now);
  if (more == More::kYes) return;
  // A look for replies each millisecond, so that a program that only sends is not left with gathered messages.
  if (now != time_checked_ && !in_callback_) {
    read_replies(now);
    check_time(now);
  }
  send_due(now);
}

// Messages of a queue with keys that belong into different partitions are counted apart, as each partition does. Their
// number is asked for once. A callback must not wait: it takes the queue for one with as many as can be, and then that
// holds, since a key that changed its lane would lose its order.
std::uint8_t ClientLoop::lane_of(const ProducerCore::Message& message) {
  if (message.key.empty() || message.by_id) return 0;
  auto known = key_partitions_.find(message.queue);
  if (known == key_partitions_.end()) {
    const std::uint64_t partitions = in_callback_ ? kQueuePartitionsMax : ask_key_partitions(message.queue);
    known = key_partitions_.emplace(message.queue, partitions).first;
  }
  return known->second == 1 ? 0 : static_cast<std::uint8_t>(1 + ordering_key(message.key).value % known->second);
}

std::uint64_t ClientLoop::ask_key_partitions(std::string_view queue) {
  RequestHeader header;
  header.op = Op::kQueueDescribe;
  header.queue = queue;
  try {
    const Value described = decode_value(ask(header).payload, reader_);
    const auto told = static_cast<std::uint64_t>(std::max<std::int64_t>(described.number("key_partitions", 1), 1));
    return std::min(told, kQueuePartitionsMax);
  } catch (const ClientError& error) {
    if (error.failure().code != "no_such_queue") throw;
    return 1;  // so it is created
  }
}

void ClientLoop::start(RequestHeader header, std::shared_ptr<const std::string> payload, DurationMs wait,
                       std::function<void(const Reply&)> done) {
  if (closed_) throw ClientError({"closed", "the client is closed", false});
  const TimeMs now = steady_now();
  Request request;
  const auto* const given = std::get_if<std::uint64_t>(&header.id);
  request.id = given != nullptr ? *given : next_id_++;
  header.id = request.id;
  request.header = encode_request_header(header);
  request.payload = std::move(payload);
  request.answer_within = DurationMs{options_.request_timeout.count() + wait.value};
  request.reach_within = DurationMs{options_.retry_for.count()};
  request.give_up_at = now + DurationMs{options_.retry_for.count() + wait.value};
  request.parked = header.op == Op::kReceive || header.op == Op::kSubscribe || header.op == Op::kHeartbeat;
  request.done = std::move(done);
  requests_.add(std::move(request), now);
  send_due(now);
}

Reply ClientLoop::ask(RequestHeader header, std::string payload) {
  // Shared with the callback, which outlives this call when it is interrupted.
  const auto answer = std::make_shared<std::optional<Reply>>();
  auto bytes = payload.empty() ? nullptr : std::make_shared<const std::string>(std::move(payload));
  start(header, std::move(bytes), DurationMs{0}, [answer](const Reply& reply) { *answer = reply; });
  run_until([&answer] { return answer->has_value(); }, kNever);
  if ((*answer)->failure) throw ClientError(*(*answer)->failure);
  return std::move(**answer);
}

bool ClientLoop::step(TimeMs until) {
  if (in_callback_)
    throw ClientError({"invalid_argument", "a callback of the client must not wait for the client", false});
  give_back_released();
  producer_.end_of_input();
  TimeMs now = steady_now();
  send_due(now);
  bool came = read_replies(now);
  if (now != time_checked_) check_time(now);
  send_due(now);
  if (came || until <= now) return came;
  const TimeMs wake = std::min({until, next_deadline(), now + DurationMs{kWaitMsMax}});
  if (link_.wait(DurationMs{std::max<std::int64_t>(wake.value - now.value, 0)}, options_.interrupt_fd, send_refused_)) {
    throw ClientError({"interrupted", "interrupted", false});
  }
  send_refused_ = false;
  now = drained_at_ = steady_now();
  came = read_replies(now);
  check_time(now);
  send_due(now);
  return came;
}

bool ClientLoop::run_until(const std::function<bool()>& done, TimeMs until) {
  while (!done()) {
    if (!step(until) && steady_now() >= until) return done();
  }
  return true;
}

void ClientLoop::send_due(TimeMs now) {
  while (!send_refused_) {
    const auto batch = producer_.next_request(next_id_, now);
    if (!batch) break;
    RequestHeader header;
    header.op = Op::kSend;
    header.id = batch->id;
    header.queue = batch->queue;
    header.producer = batch->producer;
    if (!batch->producer.empty()) header.sequence = batch->sequence;
    if (link_.send(encode_request_header(header), batch->payload)) continue;
    producer_.take_back();
    send_refused_ = true;
  }
  while (!send_refused_) {
    const Request* request = requests_.next_request(now);
    if (request == nullptr) break;
    if (link_.send(request->header, request->payload)) continue;
    requests_.take_back(request->id);
    send_refused_ = true;
  }
}

bool ClientLoop::read_replies(TimeMs now) {
  zmq::message_t header;
  zmq::message_t payload;
  bool came = false;
  // Bounded by the window and by the receives under way; the bound here is for a router that talks without end.
  for (int i = 0; i < 1000; ++i) {
    if (!link_.receive(header, payload)) {
      drained_at_ = now;
      break;
    }
    came = true;
    on_reply(bytes_of(header), std::move(payload), now);
  }
  return came;
}

void ClientLoop::on_reply(std::string_view bytes, zmq::message_t payload, TimeMs now) {
  const auto header = decode_reply_header(bytes, reader_);
  if (!header || !std::holds_alternative<std::uint64_t>(header->id)) return;  // an answer to nothing of ours
  const std::uint64_t id = std::get<std::uint64_t>(header->id);
  if (subscriptions_.find(id) != nullptr) return on_push(id, *header, std::move(payload), now);
  auto request = requests_.take(id);
  if (!request) return on_send_reply(*header, bytes_of(payload), now);
  Reply reply;
  if (header->code != Errc::kOk) {
    reply.failure = Failure{std::string(code_name(header->code)), header->message, header->retry};
    if (header->retry && now + DurationMs{200} < request->give_up_at) {
      request->last_answer = std::move(reply.failure);
      return requests_.retry_later(std::move(*request), now);
    }
  }
  const auto frame = std::make_shared<zmq::message_t>(std::move(payload));
  reply.payload = bytes_of(*frame);
  reply.owner = frame;
  reply.repeated = request->tries > 1;
  finish(*request, std::move(reply));
}

void ClientLoop::finish(Request& request, Reply reply) {
  if (!request.done) return;
  const InCallback in_callback(in_callback_);
  request.done(reply);
}

void ClientLoop::on_send_reply(const ReplyHeader& header, std::string_view payload, TimeMs now) {
  std::vector<BatchOutcome> outcomes = std::exchange(outcomes_, {});
  producer_.on_reply(std::get<std::uint64_t>(header.id), Error{header.code, header.message}, header.retry, now,
                     outcomes);
  for (BatchOutcome& outcome : outcomes) finish_batch(outcome, payload);
  outcomes.clear();
  outcomes_ = std::move(outcomes);
}

void ClientLoop::finish_batch(BatchOutcome& outcome, std::string_view payload) {
  if (outcome.failure && outcome.failure->code == "unreachable") outcome.failure->message = unreachable_text();
  if (outcome.callbacks.empty()) {
    if (outcome.failure && !unattended_) unattended_ = std::move(outcome.failure);
    return;
  }
  std::vector<ItemResult> items;
  if (!outcome.failure) {
    if (auto decoded = decode_results(payload, reader_)) items = std::move(*decoded);
  }
  const InCallback in_callback(in_callback_);
  SendResult result;
  for (std::size_t i = 0; i < outcome.callbacks.size(); ++i) {
    result.failure = outcome.failure;
    if (i < items.size()) {
      ItemResult& item = items[i];
      if (item.code != Errc::kOk)
        result.failure = Failure{std::string(code_name(item.code)), item.text, is_retryable(item.code)};
      result.duplicate = item.duplicate;
      result.id = item.code == Errc::kOk && !item.duplicate ? std::move(item.text) : std::string();
    }
    if (outcome.callbacks[i]) {
      outcome.callbacks[i](result);
    } else if (result.failure && !unattended_) {
      unattended_ = result.failure;
    }
  }
}

void ClientLoop::check_time(TimeMs now) {
  time_checked_ = now;
  if (link_.read_events(now)) on_link_lost(now);
  if (producer_.is_late(now) || requests_.is_late(now)) {
    link_.change(now);
    on_link_lost(now);
  }
  link_.step(now);
  std::vector<BatchOutcome> outcomes;
  producer_.on_time(now, outcomes);
  for (BatchOutcome& outcome : outcomes) finish_batch(outcome, {});
  while (auto request = requests_.take_expired(now)) {
    Reply reply;
    reply.failure = out_of_time(*request);
    finish(*request, std::move(reply));
  }
  renew_due(now);
  subscribe_due(now);
  send_heartbeats(now);
}

void ClientLoop::on_link_lost(TimeMs now) {
  send_refused_ = false;
  producer_.on_link_lost();
  requests_.on_link_lost(now);
  subscriptions_.on_link_lost(now);
}

TimeMs ClientLoop::next_deadline() const {
  const auto sends = producer_.next_deadline();
  const auto others = requests_.next_deadline();
  TimeMs next = std::min(sends.value_or(kNever), others.value_or(kNever));
  // While nothing is asked for, the link may stay down: no wake-ups for nobody.
  if (sends || others || !subscriptions_.empty()) next = std::min(next, link_.next_deadline());
  next = std::min(next, subscriptions_.next_deadline().value_or(kNever));
  return std::min({next, renewals_.next_deadline().value_or(kNever), heartbeats_.next_deadline().value_or(kNever)});
}

std::string ClientLoop::unreachable_text() const {
  return "cannot reach " + link_.all_endpoints() + " within " + span_text(options_.retry_for);
}

Failure ClientLoop::out_of_time(const Request& request) const {
  if (request.last_answer) return *request.last_answer;
  if (request.tries == 0) return Failure{"unreachable", unreachable_text(), true};
  return Failure{"timeout", "no reply from " + link_.all_endpoints() + " within " + span_text(options_.retry_for),
                 true};
}

bool ClientLoop::idle(bool with_receives) const {
  return producer_.idle() && released_.empty() && (with_receives ? requests_.empty() : requests_.only_parked());
}

void ClientLoop::close() {
  closed_ = true;
  renewals_.clear();
  while (const auto id = subscriptions_.any()) {
    requests_.take(*id);
    on_subscription_failed(*id, {"closed", "the client was closed", false});
  }
  stop_heartbeats();
  while (auto request = requests_.take_any()) {
    Reply reply;
    reply.failure = Failure{"closed", "the client was closed before the reply came", false};
    finish(*request, std::move(reply));
  }
}

}  // namespace dmq
