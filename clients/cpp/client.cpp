// The public face: calls that wait, made of the loop's calls that do not.
#include "dmq/client.hpp"

#include "clients/cpp/client_loop.hpp"
#include "clients/cpp/lease.hpp"
#include "clients/cpp/value_codec.hpp"
#include "protocol/enum_names.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"
#include "protocol/queue_info.hpp"
#include "runtime/clock.hpp"

namespace dmq {
namespace {

TimeMs after(std::chrono::milliseconds span) { return steady_now() + DurationMs{span.count()}; }

[[noreturn]] void refuse(const std::string& why) { throw ClientError({"invalid_argument", why, false}); }

MessageOptions options_of(const OutgoingMessage& message) {
  // The broker would refuse the others of the batch with it.
  if (message.priority < 0 || message.priority >= static_cast<int>(kPriorities)) {
    refuse("the priority of a message is from 0 to 9");
  }
  if (message.delay && message.deliver_at) refuse("a message has a delay or a time, not both");
  MessageOptions options;
  options.priority = static_cast<Priority>(message.priority);
  if (message.delay) options.delay_ms = DurationMs{message.delay->count()};
  if (message.ttl) options.ttl_ms = DurationMs{message.ttl->count()};
  if (message.deliver_at) {
    const auto since = message.deliver_at->time_since_epoch();
    options.deliver_at = TimeMs{std::chrono::duration_cast<std::chrono::milliseconds>(since).count()};
  }
  if (message.dedup_id.size() > kDedupIdBytesMax || !is_clean_utf8(message.dedup_id))
    refuse("a dedup_id is up to 128 bytes of UTF-8 without control characters");
  options.dedup_id = message.dedup_id;
  const auto most = static_cast<std::int64_t>(kNumberMax);
  const auto between = [&](std::int64_t value, std::int64_t least) { return value >= least && value <= most; };
  if (options.delay_ms && !between(options.delay_ms->value, 0)) refuse("a delay is not negative");
  if (options.deliver_at && !between(options.deliver_at->value, 0)) refuse("the time of delivery is before 1970");
  if (options.ttl_ms && !between(options.ttl_ms->value, 0)) refuse("a time to live is not negative");
  return options;
}

Attributes attributes_of(const OutgoingMessage& message) {
  for (const std::string* label :
       {&message.content_type, &message.reply_to, &message.correlation_id, &message.traceparent, &message.key}) {
    if (label->size() > kMessageLabelBytesMax || !is_clean_utf8(*label)) {
      refuse(
          "content_type, reply_to, correlation_id, traceparent and key are up to 255 bytes of UTF-8 without control "
          "characters");
    }
  }
  return {{message.headers.begin(), message.headers.end()},
          message.content_type,
          message.reply_to,
          message.correlation_id,
          message.traceparent,
          message.key};
}

std::string pairs_of(const OutgoingMessage& message) {
  return pack_message_pairs(attributes_of(message), options_of(message));
}

// The broker checks the numbers, which it knows best.
RetryPolicy retry_of(const QueueOptions& options) {
  RetryPolicy retry;
  if (options.retry_delay.count() < 0 || options.retry_delay_max.count() < 0 || options.retry_jitter < 0)
    refuse("a delay and a jitter are not negative");
  const auto backoff = options.retry_backoff.empty() ? std::optional(Backoff::kFixed)
                                                     : value_named<Backoff>(kBackoffNames, options.retry_backoff);
  if (!backoff) refuse("retry_backoff is 'fixed', 'linear' or 'exponential', not '" + options.retry_backoff + "'");
  retry.max_deliveries = options.max_deliveries;
  retry.backoff = *backoff;
  retry.delay_ms = DurationMs{options.retry_delay.count()};
  retry.max_delay_ms = DurationMs{options.retry_delay_max.count()};
  retry.jitter = static_cast<std::uint64_t>(options.retry_jitter);
  return retry;
}

QueueLimits limits_of(const QueueOptions& options) {
  QueueLimits limits{options.max_messages,           options.max_bytes, options.max_message_bytes, options.max_leased,
                     options.max_leased_by_consumer, WhenFull::kReject};
  if (options.when_full.empty()) return limits;
  const auto when_full = value_named<WhenFull>(kWhenFullNames, options.when_full);
  if (!when_full) refuse("when_full is 'reject', 'drop_oldest' or 'dead_letter', not '" + options.when_full + "'");
  limits.when_full = *when_full;
  return limits;
}

DedupPolicy dedup_of(const QueueOptions& options) {
  DedupPolicy dedup;
  if (options.dedup_window.count() != 0) dedup.window_ms = DurationMs{options.dedup_window.count()};
  if (options.dedup.empty()) return dedup;
  const auto mode = value_named<DedupMode>(kDedupModeNames, options.dedup);
  if (!mode) refuse("dedup is 'window', 'while_present' or 'replace', not '" + options.dedup + "'");
  dedup.mode = *mode;
  return dedup;
}

QueueSettings settings_of(const QueueOptions& options) {
  QueueSettings settings;
  if (options.lease.count() != 0) settings.lease_ms = DurationMs{options.lease.count()};
  if (!options.confirm.empty()) {
    const auto confirm = confirmation_from_name(options.confirm);
    if (!confirm) refuse("confirm is 'in_sync' or 'leader', not '" + options.confirm + "'");
    settings.confirm = *confirm;
  }
  if (options.delay.count() < 0 || options.ttl.count() < 0) refuse("a delay and a time to live are not negative");
  settings.delay_ms = DurationMs{options.delay.count()};
  settings.ttl_ms = DurationMs{options.ttl.count()};
  settings.retry = retry_of(options);
  settings.dead_letter = options.dead_letter;
  settings.owner = options.owner;
  settings.limits = limits_of(options);
  settings.dedup = dedup_of(options);
  if (options.partitions > kQueuePartitionsMax || options.key_partitions > kQueuePartitionsMax)
    refuse("a queue has at most 64 partitions");
  if (options.partitions != 0) settings.partitions = static_cast<std::uint16_t>(options.partitions);
  settings.key_partitions = static_cast<std::uint16_t>(options.key_partitions);
  if (options.priority_weights.empty()) return settings;
  if (options.priority_weights.size() != kPriorities) refuse("there are 10 priorities, and a weight for each");
  for (std::size_t i = 0; i < kPriorities; ++i) {
    const int weight = options.priority_weights[i];
    if (weight < 1 || weight > static_cast<int>(kPriorityWeightMax))
      refuse("the weight of a priority is from 1 to 100");
    settings.priority_weights[i] = static_cast<std::uint8_t>(weight);
  }
  return settings;
}

std::string encode_changes(const QueueChanges& changes) {
  std::string pairs;
  std::size_t count = 0;
  Packer packer(pairs);
  const auto add = [&](std::string_view key) {
    packer.text(key);
    ++count;
  };
  for (const auto& [key, span] : {std::pair("lease_ms", changes.lease),
                                  {"delay_ms", changes.delay},
                                  {"ttl_ms", changes.ttl},
                                  {"retry_delay_ms", changes.retry_delay},
                                  {"retry_delay_max_ms", changes.retry_delay_max},
                                  {"dedup_window_ms", changes.dedup_window}}) {
    if (!span) continue;
    if (span->count() < 0) refuse("a lease, a delay and a time to live are not negative");
    add(key);
    packer.number(static_cast<std::uint64_t>(span->count()));
  }
  for (const auto& [key, number] : {std::pair("max_deliveries", changes.max_deliveries),
                                    {"max_messages", changes.max_messages},
                                    {"max_bytes", changes.max_bytes},
                                    {"max_message_bytes", changes.max_message_bytes},
                                    {"max_leased", changes.max_leased},
                                    {"max_leased_by_consumer", changes.max_leased_by_consumer},
                                    {"partitions", changes.partitions}}) {
    if (!number) continue;
    add(key);
    packer.number(*number);
  }
  if (changes.retry_jitter) {
    add("retry_jitter");
    packer.number(static_cast<std::uint64_t>(std::max(*changes.retry_jitter, 0)));
  }
  for (const auto& [key, word] : {std::pair("retry_backoff", changes.retry_backoff),
                                  {"when_full", changes.when_full},
                                  {"dedup", changes.dedup}}) {
    if (!word) continue;
    add(key);
    packer.text(*word);
  }
  if (changes.owner) {
    add("owner");
    packer.text(*changes.owner);
  }
  if (changes.dead_letter) {
    add("dead_letter");
    changes.dead_letter->empty() ? packer.nil() : packer.text(*changes.dead_letter);
  }
  for (const auto& [key, on] :
       {std::pair("pause_send", changes.pause_send), {"pause_receive", changes.pause_receive}}) {
    if (!on) continue;
    add(key);
    packer.boolean(*on);
  }
  if (changes.confirm) {
    add("confirm");
    packer.text(*changes.confirm);
  }
  if (changes.priority_weights) {
    add("priority_weights");
    if (changes.priority_weights->empty()) packer.nil();
    if (!changes.priority_weights->empty()) packer.array(changes.priority_weights->size());
    for (const int weight : *changes.priority_weights) packer.number(static_cast<std::uint64_t>(std::max(weight, 0)));
  }
  std::string out;
  Packer whole(out);
  whole.map(count);
  whole.raw(pairs);
  return out;
}

RequestHeader about(Op op, std::string_view queue) {
  RequestHeader header;
  header.op = op;
  header.queue = queue;
  return header;
}

std::string send_and_wait(ClientLoop& loop, const ProducerCore::Message& message) {
  // Shared with the callback, which outlives this call when it is interrupted.
  const auto result = std::make_shared<std::optional<SendResult>>();
  loop.send(
      message, [result](const SendResult& sent) { *result = sent; }, More::kNo);
  loop.run_until([&result] { return result->has_value(); }, kNever);
  if ((*result)->failure) throw ClientError(*(*result)->failure);
  return std::move((*result)->id);
}

std::size_t settle_and_wait(ClientLoop& loop, RequestHeader header, std::vector<Lease>& leases) {
  const auto result = std::make_shared<std::optional<SettleResult>>();
  loop.settle(header, leases.data(), leases.size(), [result](const SettleResult& settled) { *result = settled; });
  loop.run_until([&result] { return result->has_value(); }, kNever);
  if ((*result)->failure) throw ClientError(*(*result)->failure);
  return (*result)->stale;
}

// 0: as the queue says.
NackOptions failed_for(std::chrono::milliseconds delay) {
  return {Nack::kFailed, delay.count() == 0 ? std::nullopt : std::optional(delay), {}};
}

}  // namespace

Client::Client(ClientOptions options) : loop_(std::make_shared<ClientLoop>(std::move(options))) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  Client old(std::move(*this));
  loop_ = std::move(other.loop_);
  return *this;
}

Client::~Client() {
  if (loop_ == nullptr) return;
  try {
    loop_->ignore_interrupt();
    loop_->unsubscribe_all();
    loop_->stop_heartbeats();
    loop_->run_until([this] { return loop_->idle(false); }, after(loop_->options().linger));
  } catch (const std::exception&) {
    // A callback threw: what is still under way is left to leases and to the caller's own repeat.
  }
}

std::string Client::send(std::string_view queue, std::string_view body) {
  return send_and_wait(*loop_, {queue, body, {}});
}

std::string Client::send(std::string_view queue, const OutgoingMessage& message) {
  return send_and_wait(*loop_, {queue, message.body, pairs_of(message), !message.dedup_id.empty(), message.key});
}

void Client::send_async(std::string_view queue, std::string_view body, SendCallback done, More more) {
  loop_->send({queue, body, {}}, std::move(done), more);
}

void Client::send_async(std::string_view queue, const OutgoingMessage& message, SendCallback done, More more) {
  loop_->send({queue, message.body, pairs_of(message), !message.dedup_id.empty(), message.key}, std::move(done), more);
}

std::size_t Client::unconfirmed() const { return loop_->unconfirmed(); }

void Client::flush(std::chrono::milliseconds timeout) {
  const bool done = loop_->run_until([this] { return loop_->idle(false); }, after(timeout));
  if (auto failure = loop_->take_unattended_failure()) throw ClientError(std::move(*failure));
  if (!done) throw ClientError({"timeout", "not everything was confirmed in time", true});
}

bool Client::poll(std::chrono::milliseconds timeout) { return loop_->step(after(timeout)); }

std::vector<Lease> Client::receive(std::string_view queue, const ReceiveOptions& options) {
  const TimeMs until = after(options.wait);
  ReceiveOptions part = options;
  while (true) {
    // When this call is interrupted the state dies with the callback, and the leases in it go back.
    const auto result = std::make_shared<std::optional<ReceiveResult>>();
    loop_->receive(queue, part, [result](ReceiveResult received) { result->emplace(std::move(received)); });
    loop_->run_until([&result] { return result->has_value(); }, kNever);
    if ((*result)->failure) throw ClientError(*(*result)->failure);
    const std::int64_t left = until.value - steady_now().value;
    if (!(*result)->leases.empty() || left <= 0) return std::move((*result)->leases);
    part.wait = std::chrono::milliseconds(left);
  }
}

void Client::receive_async(std::string_view queue, const ReceiveOptions& options, ReceiveCallback done) {
  loop_->receive(queue, options, std::move(done));
}

void Client::subscribe(std::string_view queue, const SubscribeOptions& options, ReceiveCallback got) {
  loop_->subscribe(queue, options, std::move(got));
}

void Client::unsubscribe(std::string_view queue) { loop_->unsubscribe(queue); }

std::size_t Client::ack(std::vector<Lease>& leases) { return settle_and_wait(*loop_, about(Op::kAck, {}), leases); }

std::size_t Client::nack(std::vector<Lease>& leases, std::chrono::milliseconds delay) {
  return nack(leases, failed_for(delay));
}

std::size_t Client::nack(std::vector<Lease>& leases, const NackOptions& options) {
  return settle_and_wait(*loop_, nack_header(options), leases);
}

std::size_t Client::extend(std::vector<Lease>& leases, std::chrono::milliseconds lease) {
  RequestHeader header = about(Op::kExtend, {});
  header.lease_ms = DurationMs{lease.count()};
  return settle_and_wait(*loop_, header, leases);
}

void Client::ack_async(std::vector<Lease>& leases, SettleCallback done) {
  loop_->settle(about(Op::kAck, {}), leases.data(), leases.size(), std::move(done));
}

void Client::nack_async(std::vector<Lease>& leases, std::chrono::milliseconds delay, SettleCallback done) {
  nack_async(leases, failed_for(delay), std::move(done));
}

void Client::nack_async(std::vector<Lease>& leases, const NackOptions& options, SettleCallback done) {
  loop_->settle(nack_header(options), leases.data(), leases.size(), std::move(done));
}

Value Client::create_queue(std::string_view name, const QueueOptions& options) {
  const Reply reply = loop_->ask(about(Op::kQueueCreate, name), encode_queue_settings(settings_of(options)));
  return decode_value(reply.payload, loop_->reader());
}

Value Client::update_queue(std::string_view name, const QueueChanges& changes) {
  RequestHeader header = about(Op::kQueueUpdate, name);
  header.version = changes.if_version;
  const Reply reply = loop_->ask(header, encode_changes(changes));
  return decode_value(reply.payload, loop_->reader());
}

Value Client::redrive_queue(std::string_view name, const RedriveOptions& options) {
  RequestHeader header = about(Op::kQueueRedrive, name);
  header.max = std::min<std::size_t>(options.max, kBatchMessagesMax);
  header.after = options.after;
  const Reply reply = loop_->ask(header, options.ids.empty() ? std::string() : encode_receipts(options.ids));
  return decode_value(reply.payload, loop_->reader());
}

void Client::heartbeat(std::string_view queue, std::string_view consumer) {
  RequestHeader header = about(Op::kHeartbeat, queue);
  header.consumer = consumer;
  loop_->ask(header);
}

Value Client::describe_queue(std::string_view name) {
  const Reply reply = loop_->ask(about(Op::kQueueDescribe, name));
  return decode_value(reply.payload, loop_->reader());
}

std::vector<Value> Client::list_queues(std::string_view prefix) {
  std::vector<Value> queues;
  std::string last;
  while (true) {
    RequestHeader header = about(Op::kQueueList, {});
    header.prefix = prefix;
    header.after = last;
    header.max = kListPageMax;
    const Reply reply = loop_->ask(header);
    const Value page = decode_value(reply.payload, loop_->reader());
    const auto* items = std::get_if<Value::List>(&page.data());
    if (items == nullptr || items->empty()) return queues;
    queues.insert(queues.end(), items->begin(), items->end());
    if (items->size() < kListPageMax) return queues;
    last = queues.back().text("name");
  }
}

void Client::delete_queue(std::string_view name) { loop_->ask(about(Op::kQueueDelete, name)); }

Value Client::hello() {
  const Reply reply = loop_->ask(about(Op::kHello, {}));
  return decode_value(reply.payload, loop_->reader());
}

std::chrono::microseconds Client::ping() {
  const auto start = std::chrono::steady_clock::now();
  loop_->ask(about(Op::kPing, {}));
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
}

bool Client::close(std::chrono::milliseconds timeout) noexcept {
  bool done = false;
  try {
    loop_->ignore_interrupt();
    loop_->unsubscribe_all();
    loop_->stop_heartbeats();
    done = loop_->run_until([this] { return loop_->idle(true); }, after(timeout));
    loop_->close();
  } catch (const std::exception&) {
    return false;
  }
  return done;
}

}  // namespace dmq
