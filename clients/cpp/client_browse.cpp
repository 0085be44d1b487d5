// The client's calls that look at queues: pages of messages, statistics; and purge.
#include "clients/cpp/client_loop.hpp"
#include "clients/cpp/value_codec.hpp"
#include "dmq/client.hpp"
#include "protocol/browse.hpp"

namespace dmq {
namespace {

constexpr std::size_t kAskedMax = 64;  // statistics under way

using Time = std::chrono::system_clock::time_point;

Time time_of(TimeMs time) { return Time(std::chrono::milliseconds(time.value)); }
std::optional<Time> time_if(TimeMs time) { return time.value == 0 ? std::nullopt : std::optional(time_of(time)); }

BrowsedMessage message_of(const Browsed& browsed) {
  BrowsedMessage message;
  message.id = browsed.id;
  message.state = browsed.state;
  message.body = browsed.body;
  message.size = browsed.size;
  message.deliveries = browsed.deliveries;
  message.priority = browsed.priority;
  message.sent_at = time_of(browsed.sent_ms);
  message.expires_at = time_if(browsed.expires_ms);
  message.ready_at = time_if(browsed.ready_ms);
  message.lease_until = time_if(browsed.lease_until_ms);
  message.cause = browsed.cause;
  message.reason = browsed.reason;
  if (const auto& origin = browsed.attributes.origin) {
    message.origin_queue = origin->queue;
    message.cause = origin->cause;
    if (message.reason.empty()) message.reason = origin->reason;
  }
  message.headers.assign(browsed.attributes.headers.begin(), browsed.attributes.headers.end());
  message.content_type = browsed.attributes.content_type;
  message.reply_to = browsed.attributes.reply_to;
  message.correlation_id = browsed.attributes.correlation_id;
  message.traceparent = browsed.attributes.traceparent;
  message.key = browsed.attributes.key;
  return message;
}

RequestHeader header_of(std::string_view queue, const BrowseOptions& options) {
  const auto state = state_from_name(options.state);
  if (!state) {
    throw ClientError({"invalid_argument",
                       "a state to look at is 'ready', 'delayed', 'leased' or 'dead', not '" + options.state + "'",
                       false});
  }
  RequestHeader header;
  header.op = Op::kBrowse;
  header.queue = queue;
  header.state = *state;
  if (options.as_received) header.order = BrowseOrder::kNext;
  header.max = options.max;
  header.max_bytes = options.max_bytes;
  header.body_bytes = options.body_bytes;
  header.after = options.after;
  return header;
}

// What came back for many requests, each in its place.
struct Answers {
  std::vector<Reply> replies;
  std::size_t open = 0;
};

}  // namespace

BrowseResult Client::browse(std::string_view queue, const BrowseOptions& options) {
  const Reply reply = loop_->ask(header_of(queue, options));
  const auto page = decode_browse(reply.payload, loop_->reader());
  if (!page) throw ClientError({"malformed", "the broker's reply cannot be read: " + page.error().context, false});
  BrowseResult result;
  result.after = page->after;
  for (const Browsed& browsed : page->messages) result.messages.push_back(message_of(browsed));
  return result;
}

std::uint64_t Client::purge_queue(std::string_view name) {
  RequestHeader header;
  header.op = Op::kQueuePurge;
  header.queue = name;
  const Reply reply = loop_->ask(header);
  return static_cast<std::uint64_t>(decode_value(reply.payload, loop_->reader()).number("removed"));
}

Value Client::queue_stats(std::string_view name) {
  RequestHeader header;
  header.op = Op::kQueueStats;
  header.queue = name;
  const Reply reply = loop_->ask(header);
  return decode_value(reply.payload, loop_->reader());
}

std::vector<Value> Client::queue_stats(const std::vector<std::string>& names) {
  // Shared with the callbacks, which outlive this call when it is interrupted.
  const auto answers = std::make_shared<Answers>();
  answers->replies.resize(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    RequestHeader header;
    header.op = Op::kQueueStats;
    header.queue = names[i];
    ++answers->open;
    loop_->start(header, nullptr, DurationMs{0}, [answers, i](const Reply& reply) {
      answers->replies[i] = reply;
      --answers->open;
    });
    loop_->run_until([&answers] { return answers->open < kAskedMax; }, kNever);
  }
  loop_->run_until([&answers] { return answers->open == 0; }, kNever);
  std::vector<Value> stats;
  for (const Reply& reply : answers->replies) {
    if (reply.failure && reply.failure->code == "no_such_queue") continue;
    if (reply.failure) throw ClientError(*reply.failure);
    stats.push_back(decode_value(reply.payload, loop_->reader()));
  }
  return stats;
}

}  // namespace dmq
