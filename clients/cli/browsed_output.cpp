// See browsed_output.hpp.
#include "clients/cli/browsed_output.hpp"

#include <algorithm>

#include "clients/cli/byte_text.hpp"
#include "clients/cli/queue_rows.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/value_table.hpp"

namespace dmq::cli {
namespace {

constexpr std::size_t kRowBodyBytes = 60;

using Time = std::chrono::system_clock::time_point;

std::int64_t ms_of(Time time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// Of text that was cut inside a character, all whole ones.
std::string_view whole_text(std::string_view body, bool cut) {
  for (std::size_t less = 0; cut && less < std::min<std::size_t>(4, body.size()); ++less) {
    const std::string_view part = body.substr(0, body.size() - less);
    if (is_text(part)) return part;
  }
  return body;
}

std::string_view shown_body(const BrowsedMessage& message) {
  return whole_text(message.body, message.body.size() < message.size);
}

std::vector<std::pair<std::string, std::string>> labels_of(const BrowsedMessage& message) {
  std::vector<std::pair<std::string, std::string>> labels{{"content_type", message.content_type},
                                                          {"reply_to", message.reply_to},
                                                          {"correlation_id", message.correlation_id},
                                                          {"traceparent", message.traceparent},
                                                          {"key", message.key}};
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  return labels;
}

std::string time_member(std::string_view key, const std::optional<Time>& time) {
  return time ? "," + json_quoted(key) + ":" + std::to_string(ms_of(*time)) : std::string();
}

}  // namespace

std::string json_line(const BrowsedMessage& message, const std::string& queue) {
  std::string line = "{\"id\":" + json_quoted(message.id) + ",\"queue\":" + json_quoted(queue) +
                     ",\"state\":" + json_quoted(message.state) +
                     ",\"deliveries\":" + std::to_string(message.deliveries) +
                     ",\"sent_ms\":" + std::to_string(ms_of(message.sent_at));
  if (message.priority != 0) line += ",\"priority\":" + std::to_string(message.priority);
  line += time_member("expires_ms", message.expires_at) + time_member("ready_ms", message.ready_at) +
          time_member("lease_until_ms", message.lease_until);
  for (const auto& [name, text] :
       {std::pair("cause", message.cause), {"reason", message.reason}, {"origin_queue", message.origin_queue}}) {
    if (!text.empty()) line += "," + json_quoted(name) + ":" + json_quoted(text);
  }
  for (const auto& [name, text] : labels_of(message)) line += "," + json_quoted(name) + ":" + json_quoted(text);
  std::string headers;
  for (const auto& [name, value] : message.headers) headers += (headers.empty() ? "" : ",") + json_bytes(name, value);
  if (!headers.empty()) line += ",\"headers\":{" + headers + "}";
  line += ",\"size\":" + std::to_string(message.size);
  return line + "," + json_bytes("body", shown_body(message)) + "}\n";
}

std::string people_text(const BrowsedMessage& message, bool coloured) {
  std::string head = "message " + message.id + ", " + message.state + ", sent " + time_text(ms_of(message.sent_at));
  if (message.deliveries > 0) head += ", handed out " + counted(message.deliveries, "time");
  if (message.priority != 0) head += ", priority " + std::to_string(message.priority);
  if (!message.origin_queue.empty()) head += ", from " + message.origin_queue;
  if (!message.cause.empty()) head += ", " + message.cause;
  if (!message.reason.empty()) head += ": " + message.reason;
  for (const auto& [name, text] : labels_of(message)) head += ", " + name + ": " + text;
  for (const auto& [name, value] : message.headers) head += ", " + name + ": " + value;
  std::string out = (coloured ? "\033[2m" : "") + masked(head, '?') + (coloured ? "\033[0m\n" : "\n");
  const std::string_view body = shown_body(message);
  if (!is_text(body)) return out + "(" + counted(message.size, "byte") + " that are no text; see them with --json)\n";
  out += masked(body, '?') + "\n";
  if (body.size() < message.size) out += "(and " + counted(message.size - body.size(), "byte") + " more)\n";
  return out;
}

Value browsed_row(const BrowsedMessage& message) {
  const auto text = [](std::string value) { return Value(Value::Data(std::move(value))); };
  Value::Map row{{"id", text(message.id)},
                 {"state", text(message.state)},
                 {"sent", text(time_text(ms_of(message.sent_at)))},
                 {"deliveries", Value(Value::Data(std::int64_t{message.deliveries}))},
                 {"priority", Value(Value::Data(std::int64_t{message.priority}))}};
  if (message.ready_at) row.emplace_back("ready", text(time_text(ms_of(*message.ready_at))));
  if (message.lease_until) row.emplace_back("lease until", text(time_text(ms_of(*message.lease_until))));
  if (!message.cause.empty()) row.emplace_back("cause", text(message.cause));
  if (!message.reason.empty()) row.emplace_back("reason", text(message.reason));
  row.emplace_back("size", text(bytes_text(static_cast<std::int64_t>(message.size))));
  const std::string_view body = whole_text(shown_body(message).substr(0, kRowBodyBytes), true);
  row.emplace_back("body",
                   text(is_text(body) ? std::string(body) + (body.size() < message.size ? "..." : "") : "(no text)"));
  return Value(Value::Data(std::move(row)));
}

}  // namespace dmq::cli
