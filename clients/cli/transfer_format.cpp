// See transfer_format.hpp.
#include "clients/cli/transfer_format.hpp"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "clients/cli/byte_text.hpp"

namespace dmq::cli {
namespace {

using Json = nlohmann::ordered_json;
using std::chrono::milliseconds;

[[noreturn]] void bad(const std::string& what) { throw ClientError({"malformed", what, false}); }

template <class T>
T value_of(const Json& object, std::string_view key, T otherwise) {
  const auto found = object.find(key);
  if (found == object.end()) return otherwise;
  try {
    return found->get<T>();
  } catch (const Json::exception&) {
    bad("'" + std::string(key) + "' has a value of a wrong type");
  }
}

struct Setting {
  std::string_view key;
  void (*read)(const Json& settings, std::string_view key, QueueOptions& out);
};

template <auto Member>
constexpr Setting span(std::string_view key) {
  return {key, [](const Json& settings, std::string_view name, QueueOptions& out) {
            out.*Member = milliseconds(value_of<std::int64_t>(settings, name, (out.*Member).count()));
          }};
}

template <auto Member>
constexpr Setting plain(std::string_view key) {
  return {key, [](const Json& settings, std::string_view name, QueueOptions& out) {
            out.*Member = value_of(settings, name, out.*Member);
          }};
}

constexpr std::array<Setting, 22> kSettings{{
    span<&QueueOptions::lease>("lease_ms"),
    plain<&QueueOptions::confirm>("confirm"),
    span<&QueueOptions::delay>("delay_ms"),
    span<&QueueOptions::ttl>("ttl_ms"),
    plain<&QueueOptions::priority_weights>("priority_weights"),
    plain<&QueueOptions::max_deliveries>("max_deliveries"),
    plain<&QueueOptions::retry_backoff>("retry_backoff"),
    span<&QueueOptions::retry_delay>("retry_delay_ms"),
    span<&QueueOptions::retry_delay_max>("retry_delay_max_ms"),
    plain<&QueueOptions::retry_jitter>("retry_jitter"),
    plain<&QueueOptions::dead_letter>("dead_letter"),
    plain<&QueueOptions::max_messages>("max_messages"),
    plain<&QueueOptions::max_bytes>("max_bytes"),
    plain<&QueueOptions::max_message_bytes>("max_message_bytes"),
    plain<&QueueOptions::max_leased>("max_leased"),
    plain<&QueueOptions::max_leased_by_consumer>("max_leased_by_consumer"),
    plain<&QueueOptions::when_full>("when_full"),
    plain<&QueueOptions::dedup>("dedup"),
    span<&QueueOptions::dedup_window>("dedup_window_ms"),
    plain<&QueueOptions::owner>("owner"),
    plain<&QueueOptions::partitions>("partitions"),
    plain<&QueueOptions::key_partitions>("key_partitions"),
}};

bool is_setting(std::string_view key) {
  return std::any_of(kSettings.begin(), kSettings.end(), [key](const Setting& each) { return each.key == key; });
}

// "name", or "name_base64" of what is no text: json_bytes.
std::pair<std::string, std::string> read_bytes(const std::string& key, const Json& value) {
  if (!value.is_string()) bad("'" + key + "' is no text");
  if (!key.ends_with(kBase64Suffix)) return {key, value.get<std::string>()};
  auto bytes = from_base64(value.get_ref<const std::string&>());
  if (!bytes) bad("'" + key + "' is no base64");
  return {key.substr(0, key.size() - kBase64Suffix.size()), std::move(*bytes)};
}

Json as_binary(const std::string& bytes) { return Json::binary(std::vector<std::uint8_t>(bytes.begin(), bytes.end())); }

// A line of JSON with bytes where it has text or base64.
Json with_bytes(const Json& line) {
  Json out = Json::object();
  for (const auto& [key, value] : line.items()) {
    if (key == "body" || key == "body_base64") {
      out["body"] = as_binary(read_bytes(key, value).second);
    } else if (key == "headers" && value.is_object()) {
      Json& headers = out[key] = Json::object();
      for (const auto& [name, held] : value.items()) {
        const auto [plain, bytes] = read_bytes(name, held);
        headers[plain] = as_binary(bytes);
      }
    } else {
      out[key] = value;
    }
  }
  return out;
}

// Text stands for its bytes.
std::string bytes_of(const std::string& key, const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_binary()) bad("'" + key + "' is neither text nor bytes");
  return {value.get_binary().begin(), value.get_binary().end()};
}

std::string read_body(const Json& line) {
  const auto found = line.find("body");
  if (found == line.end()) bad("a message has no 'body'");
  return bytes_of("body", *found);
}

MessageLine read_message(const Json& line, std::chrono::system_clock::time_point now) {
  MessageLine out;
  out.queue = value_of<std::string>(line, "queue", "");
  OutgoingMessage& message = out.message;
  message.body = read_body(line);
  if (value_of<std::uint64_t>(line, "size", message.body.size()) != message.body.size()) bad("its body is cut short");
  message.priority = value_of(line, "priority", 0);
  for (const auto& [key, member] : {std::pair("content_type", &OutgoingMessage::content_type),
                                    {"reply_to", &OutgoingMessage::reply_to},
                                    {"correlation_id", &OutgoingMessage::correlation_id},
                                    {"traceparent", &OutgoingMessage::traceparent},
                                    {"key", &OutgoingMessage::key}}) {
    message.*member = value_of<std::string>(line, key, "");
  }
  if (const auto headers = line.find("headers"); headers != line.end()) {
    if (!headers->is_object()) bad("'headers' is no object");
    for (const auto& [key, value] : headers->items()) message.headers.emplace_back(key, bytes_of(key, value));
  }
  const auto time = [](std::int64_t ms) { return std::chrono::system_clock::time_point(milliseconds(ms)); };
  // A time that is past means at once, whatever the queue's own delay is.
  message.deliver_at = time(value_of<std::int64_t>(line, "ready_ms", 0));
  if (const auto expires_ms = value_of<std::int64_t>(line, "expires_ms", 0); expires_ms != 0) {
    message.ttl = std::chrono::ceil<milliseconds>(time(expires_ms) - now);
    out.expired = message.ttl->count() < 1;
  } else {
    message.ttl = milliseconds(0);  // never, and not when the queue's default says
  }
  out.dead = value_of<std::string>(line, "state", "") == "dead";
  return out;
}

std::variant<QueueLine, MessageLine> read_object(const Json& object, std::chrono::system_clock::time_point now) {
  const auto settings = object.find("settings");
  if (settings == object.end()) return read_message(object, now);
  if (!settings->is_object()) bad("'settings' is no object");
  QueueLine queue{value_of<std::string>(object, "queue", ""), {}};
  for (const auto& [key, value] : settings->items()) {
    if (!is_setting(key)) bad("there is no setting '" + key + "'");
  }
  for (const Setting& setting : kSettings) setting.read(*settings, setting.key, queue.options);
  return queue;
}

}  // namespace

std::string queue_line(const Value& described) {
  Value::Map settings;
  for (const auto& [key, value] : std::get<Value::Map>(described.data())) {
    if (is_setting(key)) settings.emplace_back(key, value);
  }
  return "{\"queue\":" + json_quoted(described.text("name")) + ",\"settings\":" + to_json(Value(std::move(settings))) +
         "}\n";
}

std::variant<QueueLine, MessageLine> read_transfer_line(std::string_view line,
                                                        std::chrono::system_clock::time_point now) {
  const Json object = Json::parse(line, nullptr, false);
  if (!object.is_object()) bad("it is no JSON object");
  return read_object(with_bytes(object), now);
}

std::string packed_line(std::string_view line) {
  std::string out;
  Json::to_msgpack(with_bytes(Json::parse(line)), nlohmann::detail::output_adapter<char>(out));
  return out;
}

bool begins_packed(char first) {
  const auto byte = static_cast<unsigned char>(first);
  return (byte & 0xf0) == 0x80 || byte == 0xde || byte == 0xdf;  // a map of up to 15, 2^16 and 2^32 keys
}

std::variant<QueueLine, MessageLine> read_packed_line(std::string_view packed,
                                                      std::chrono::system_clock::time_point now) {
  const Json object = Json::from_msgpack(packed, true, false);
  if (!object.is_object()) bad("it is no map with names for keys");
  return read_object(object, now);
}

}  // namespace dmq::cli
