// Codecs of the payload frames (docs/protocol.md, "Operations").
#include "protocol/payload.hpp"

#include <array>

#include "protocol/attributes_codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kPayloadLimits{.array_items = kBatchMessagesMax,
                                    .map_keys = kMessageHeadersMax,
                                    .string_bytes = kReplyBytesMax,
                                    .binary_bytes = kReplyBytesMax,
                                    .values = kPayloadValuesMax};

constexpr std::uint32_t kDeliveryPairs = 5;  // that each delivered message has

// Of messages that came from another queue.
constexpr std::string_view kId = "id";
constexpr std::string_view kOrigin = "origin";

constexpr std::string_view kDedupId = "dedup_id";

// The short texts among the attributes.
struct Label {
  std::string_view key;
  std::string_view Attributes::*value;
};
constexpr std::array<Label, 5> kLabels{{{"content_type", &Attributes::content_type},
                                        {"reply_to", &Attributes::reply_to},
                                        {"correlation_id", &Attributes::correlation_id},
                                        {"traceparent", &Attributes::traceparent},
                                        {"key", &Attributes::key}}};

// An array of 32-bit count, whose count is filled in when it is known.
void begin_array(std::string& out) { out.assign("\xdd\0\0\0\0", 5); }
void end_array(std::string& out, std::uint32_t count) {
  for (std::size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(count >> (24 - 8 * i));
}

Result<msgpack::object> read_array(std::string_view payload, MsgpackReader& reader, std::size_t bytes_max) {
  if (payload.size() > bytes_max) {
    return fail(Errc::kTooLarge, "the payload frame is over " + std::to_string(bytes_max >> 20) + " MiB");
  }
  auto object = reader.read(payload, kPayloadLimits);
  if (!object) return object;
  if (object->type != msgpack::type::ARRAY) return fail(Errc::kMalformed, "the payload must be a MessagePack array");
  return object;
}

// How many items an array claims to hold; 0 when it is a short one or none.
std::uint32_t claimed_items(std::string_view payload) {
  const std::size_t digits = payload.starts_with('\xdc') ? 2 : payload.starts_with('\xdd') ? 4 : 0;
  if (payload.size() <= digits) return 0;
  std::uint32_t count = 0;
  for (std::size_t i = 1; i <= digits; ++i) count = count << 8 | static_cast<unsigned char>(payload[i]);
  return count;
}

// The array of a request; `items` is the word for what it holds, `who` for the operations that need it.
Result<msgpack::object> read_filled_array(std::string_view payload, MsgpackReader& reader, std::string_view items,
                                          std::string_view who) {
  if (payload.empty())
    return fail(Errc::kMalformed, std::string(who) + " a payload: an array of " + std::string(items));
  auto object = read_array(payload, reader, kRequestBytesMax);
  if (!object && object.error().code == Errc::kTooLarge && claimed_items(payload) > kBatchMessagesMax) {
    return fail(Errc::kTooLarge, "the request has " + std::to_string(claimed_items(payload)) + " " +
                                     std::string(items) + "; the limit is " + std::to_string(kBatchMessagesMax));
  }
  if (object && object->via.array.size == 0) return fail(Errc::kInvalidArgument, "the payload array is empty");
  return object;
}

// The headers map of a message as views. Errors: malformed, too_large.
Result<std::vector<HeaderView>> read_headers(const msgpack::object& object) {
  if (auto map = check_map(object); !map) return fail(Errc::kMalformed, "headers: " + map.error().context);
  std::vector<HeaderView> headers;
  std::size_t bytes = 0;
  for (std::uint32_t i = 0; i < object.via.map.size; ++i) {
    const auto& pair = object.via.map.ptr[i];
    const auto value = as_bytes(pair.val);
    // A name that is no UTF-8 would make strict decoders drop the whole batch that it is delivered in.
    if (!is_clean_utf8(*as_text(pair.key))) {
      return fail(Errc::kMalformed, "headers: a name is not UTF-8 text without control characters");
    }
    if (!value) return fail(Errc::kMalformed, "headers: a value is neither str nor bin");
    headers.emplace_back(*as_text(pair.key), *value);
    bytes += headers.back().first.size() + value->size() + 10;
  }
  if (bytes > kMessageHeaderBytesMax) return fail(Errc::kTooLarge, "the headers of the message are over 16 KiB");
  return headers;
}

// The short text under `key`; absent: `out` stays. Errors: invalid_argument.
Result<void> read_label(const msgpack::object& object, std::string_view key, std::size_t bytes_max,
                        std::string_view& out) {
  const msgpack::object* value = find_key(object, key);
  if (value == nullptr) return {};
  const auto text = as_text(*value);
  if (!text || text->empty() || text->size() > bytes_max || !is_clean_utf8(*text)) {
    return fail(Errc::kInvalidArgument, "`" + std::string(key) + "` must be a str of 1 to " +
                                            std::to_string(bytes_max) + " bytes of UTF-8 without control characters");
  }
  out = *text;
  return {};
}

}  // namespace

Result<Attributes> read_attributes(const msgpack::object& object) {
  Attributes attributes;
  if (const msgpack::object* headers = find_key(object, "headers")) {
    auto views = read_headers(*headers);
    if (!views) return tl::unexpected<Error>(views.error());
    attributes.headers = std::move(*views);
  }
  for (const Label& label : kLabels) {
    if (auto read = read_label(object, label.key, kMessageLabelBytesMax, attributes.*label.value); !read)
      return tl::unexpected<Error>(read.error());
  }
  return attributes;
}

namespace {

// The number under `key`, from `least` on; empty: there is none.
Result<std::optional<std::uint64_t>> read_option(const msgpack::object& object, std::string_view key,
                                                 std::uint64_t least, std::uint64_t most, std::string_view what) {
  const msgpack::object* value = find_key(object, key);
  if (value == nullptr) return std::optional<std::uint64_t>();
  const auto number = as_number(*value);
  if (!number || *number < least || *number > most) {
    return fail(Errc::kInvalidArgument, "`" + std::string(key) + "` must be " + std::string(what));
  }
  return number;
}

// Errors: invalid_argument.
Result<MessageOptions> read_options(const msgpack::object& object) {
  MessageOptions options;
  const auto priority = read_option(object, "priority", 0, kPriorities - 1, "an integer from 0 to 9");
  const auto delay = read_option(object, "delay_ms", 0, kNumberMax, "a number of milliseconds from 0");
  const auto at = read_option(object, "deliver_at", 0, kNumberMax, "a time in milliseconds since 1970");
  const auto ttl = read_option(object, "ttl_ms", 0, kNumberMax, "a number of milliseconds from 0");
  for (const auto* each : {&priority, &delay, &at, &ttl}) {
    if (!*each) return tl::unexpected<Error>(each->error());
  }
  if (*delay && *at) return fail(Errc::kInvalidArgument, "a message has `delay_ms` or `deliver_at`, not both");
  options.priority = static_cast<Priority>(priority->value_or(0));
  if (*delay) options.delay_ms = DurationMs{static_cast<std::int64_t>(**delay)};
  if (*at) options.deliver_at = TimeMs{static_cast<std::int64_t>(**at)};
  if (*ttl) options.ttl_ms = DurationMs{static_cast<std::int64_t>(**ttl)};
  if (auto read = read_label(object, kDedupId, kDedupIdBytesMax, options.dedup_id); !read)
    return tl::unexpected<Error>(read.error());
  return options;
}

Result<void> read_message_map(const msgpack::object& object, SendItem& item) {
  if (auto map = check_map(object); !map) return fail(Errc::kMalformed, "message: " + map.error().context);
  const msgpack::object* body = find_key(object, "body");
  const auto bytes = body == nullptr ? std::nullopt : as_bytes(*body);
  if (!bytes) return fail(Errc::kMalformed, "a message has no `body` of bin or str");
  item.body = *bytes;
  if (object.via.map.size == 1) return {};
  const auto options = read_options(object);
  if (!options) return tl::unexpected<Error>(options.error());
  item.options = *options;
  const auto attributes = read_attributes(object);
  if (!attributes) return tl::unexpected<Error>(attributes.error());
  item.key = attributes->key;
  item.attributes = pack_attributes(*attributes);
  return {};
}

// Appends the pairs to `out`; their number.
std::uint8_t pack_pairs(const Attributes& attributes, std::string& out) {
  Packer packer(out);
  std::uint8_t pairs = 0;
  if (!attributes.headers.empty()) {
    packer.text("headers");
    packer.map(attributes.headers.size());
    for (const auto& [name, value] : attributes.headers) {
      packer.text(name);
      packer.bytes(value);
    }
    ++pairs;
  }
  for (const Label& label : kLabels) {
    if ((attributes.*label.value).empty()) continue;
    packer.text(label.key);
    packer.text(attributes.*label.value);
    ++pairs;
  }
  return pairs;
}

}  // namespace

namespace {

// Stored attributes as a map; empty: there are none.
std::optional<msgpack::object> read_stored(std::string_view stored, std::string& map, MsgpackReader& reader) {
  if (stored.empty()) return std::nullopt;
  Packer(map).map(static_cast<std::uint8_t>(stored.front()));
  map.append(stored.substr(1));
  const auto object = reader.read(map, kPayloadLimits);
  if (!object || !check_map(*object)) return std::nullopt;
  return *object;
}

void pack_origin(Packer& packer, const Origin& origin) {
  packer.text(kOrigin);
  packer.map(4 + (origin.first_ms.value != 0 ? 2 : 0) + (origin.reason.empty() ? 0 : 1));
  packer.text("queue");
  packer.text(origin.queue);
  packer.text("cause");
  packer.text(origin.cause);
  pack_number(packer, "deliveries", origin.deliveries);
  pack_number(packer, "sent_ms", static_cast<std::uint64_t>(origin.sent_ms.value));
  if (origin.first_ms.value != 0) {
    pack_number(packer, "first_ms", static_cast<std::uint64_t>(origin.first_ms.value));
    pack_number(packer, "last_ms", static_cast<std::uint64_t>(origin.last_ms.value));
  }
  if (origin.reason.empty()) return;
  packer.text("reason");
  packer.text(origin.reason);
}

// Errors: malformed.
Result<std::optional<Origin>> read_origin(const msgpack::object& message) {
  const msgpack::object* object = find_key(message, kOrigin);
  if (object == nullptr) return std::optional<Origin>();
  if (!check_map(*object)) return fail(Errc::kMalformed, "`origin` is no map");
  const auto text = [&](std::string_view key) {
    const msgpack::object* value = find_key(*object, key);
    return value == nullptr ? std::string_view() : as_text(*value).value_or("");
  };
  const auto number = [&](std::string_view key) {
    const msgpack::object* value = find_key(*object, key);
    return value == nullptr ? std::int64_t{0} : static_cast<std::int64_t>(as_number(*value).value_or(0));
  };
  return std::optional(Origin{text("queue"),
                              text("cause"),
                              text("reason"),
                              static_cast<std::uint32_t>(number("deliveries")),
                              {number("first_ms")},
                              {number("last_ms")},
                              {number("sent_ms")}});
}

}  // namespace

Result<Attributes> read_shown_attributes(const msgpack::object& object) {
  auto attributes = read_attributes(object);
  if (!attributes) return attributes;
  const auto origin = read_origin(object);
  if (!origin) return tl::unexpected<Error>(origin.error());
  attributes->origin = *origin;
  return attributes;
}

std::string pack_moved_attributes(std::string_view stored, std::string_view id, const Origin* origin,
                                  MsgpackReader& reader) {
  std::string out(1, '\0');
  Packer packer(out);
  packer.text(kId);
  packer.text(id);
  std::uint8_t pairs = 1;
  std::string map;
  if (const auto old = read_stored(stored, map, reader)) {
    for (const auto& [key, value] : old->via.map) {
      if (as_text(key) == kId || as_text(key) == kOrigin) continue;
      packer.object(key);
      packer.object(value);
      ++pairs;
    }
  }
  if (origin != nullptr) {
    pack_origin(packer, *origin);
    ++pairs;
  }
  out[0] = static_cast<char>(pairs);
  return out;
}

std::string_view origin_queue(std::string_view stored, MsgpackReader& reader) {
  std::string map;
  const auto object = read_stored(stored, map, reader);
  const auto origin = object ? read_origin(*object) : std::nullopt;
  if (!origin || !*origin) return {};
  // The map is a copy, whose tail is that of the stored bytes.
  const auto before_end = static_cast<std::size_t>(map.data() + map.size() - (*origin)->queue.data());
  return stored.substr(stored.size() - before_end, (*origin)->queue.size());
}

// It stands first where there is one.
std::string_view stored_id(std::string_view stored) {
  constexpr std::string_view kStart = "\xa2id";
  if (stored.empty() || !stored.substr(1).starts_with(kStart)) return {};
  const auto length = static_cast<std::uint8_t>(stored[1 + kStart.size()]);
  return stored.substr(2 + kStart.size(), length & 31);
}

Result<void> decode_send(std::string_view payload, MsgpackReader& reader, std::vector<SendItem>& items) {
  items.clear();
  const auto object = read_filled_array(payload, reader, "messages", "`send` needs");
  if (!object) return tl::unexpected<Error>(object.error());
  items.resize(object->via.array.size);
  for (std::uint32_t i = 0; i < object->via.array.size; ++i) {
    const msgpack::object& message = object->via.array.ptr[i];
    SendItem& item = items[i];
    if (const auto bytes = as_bytes(message)) {
      item.body = *bytes;
    } else if (message.type == msgpack::type::MAP) {
      if (auto read = read_message_map(message, item); !read) item.error = read.error();
    } else {
      item.error = {Errc::kMalformed, "a message must be a map, or bin or str for a body alone"};
    }
    if (item.body.size() > kMessageBytesMax) item.error = {Errc::kTooLarge, "the body is over 16 MiB"};
  }
  return {};
}

std::string pack_attributes(const Attributes& attributes) {
  std::string out(1, '\0');
  out[0] = static_cast<char>(pack_pairs(attributes, out));
  return out.size() == 1 ? std::string() : out;
}

std::string pack_message_pairs(const Attributes& attributes, const MessageOptions& options) {
  std::string out(1, '\0');
  std::uint8_t pairs = pack_pairs(attributes, out);
  Packer packer(out);
  const auto add = [&](std::string_view key, std::int64_t value) {
    pack_number(packer, key, static_cast<std::uint64_t>(value));
    ++pairs;
  };
  if (options.priority != 0) add("priority", options.priority);
  if (options.delay_ms) add("delay_ms", options.delay_ms->value);
  if (options.deliver_at) add("deliver_at", options.deliver_at->value);
  if (options.ttl_ms) add("ttl_ms", options.ttl_ms->value);
  if (!options.dedup_id.empty()) {
    packer.text(kDedupId);
    packer.text(options.dedup_id);
    ++pairs;
  }
  out[0] = static_cast<char>(pairs);
  return pairs == 0 ? std::string() : out;
}

SendWriter::SendWriter() { begin_array(out_); }

void SendWriter::add(std::string_view body, std::string_view pairs) {
  Packer packer(out_);
  if (!pairs.empty()) {
    packer.map(1 + static_cast<std::size_t>(pairs.front()));
    packer.raw(pairs.substr(1));
    packer.text("body");
  }
  packer.bytes(body);
  ++count_;
}

std::string SendWriter::finish() {
  end_array(out_, count_);
  std::string payload = std::move(out_);
  out_ = {};
  out_.reserve(payload.size());
  begin_array(out_);
  count_ = 0;
  return payload;
}

Result<void> decode_receipts(std::string_view payload, MsgpackReader& reader, std::vector<std::string_view>& receipts) {
  receipts.clear();
  const auto object = read_filled_array(payload, reader, "receipts", "`ack`, `nack` and `extend` need");
  if (!object) return tl::unexpected<Error>(object.error());
  for (std::uint32_t i = 0; i < object->via.array.size; ++i) {
    const auto text = as_bytes(object->via.array.ptr[i]);
    if (!text) return fail(Errc::kMalformed, "a receipt must be a str");
    receipts.push_back(*text);
  }
  return {};
}

std::string encode_receipts(const std::vector<std::string>& receipts) {
  return encode_receipts(std::vector<std::string_view>(receipts.begin(), receipts.end()));
}

std::string encode_receipts(const std::vector<std::string_view>& receipts) {
  std::string out;
  Packer packer(out);
  packer.array(receipts.size());
  for (const std::string_view receipt : receipts) packer.text(receipt);
  return out;
}

ResultWriter::ResultWriter(std::size_t count) {
  out_.reserve(5 + count * 16);
  Packer(out_).array(count);
}

void ResultWriter::id(PartitionId partition, Lsn lsn) {
  char text[kMessageIdTextMax];
  Packer(out_).text({text, write_message_id(partition, lsn, text)});
}

void ResultWriter::ok() { Packer(out_).text("ok"); }

void ResultWriter::duplicate() {
  Packer packer(out_);
  packer.map(2);
  packer.text("code");
  packer.text("ok");
  packer.text("duplicate");
  packer.boolean(true);
}

void ResultWriter::error(const Error& error) {
  Packer packer(out_);
  packer.map(2);
  packer.text("code");
  packer.text(code_name(error.code));
  packer.text("message");
  packer.text(error.context.empty() ? code_text(error.code) : std::string_view(error.context));
}

Result<std::vector<ItemResult>> decode_results(std::string_view payload, MsgpackReader& reader) {
  const auto object = read_array(payload, reader, kReplyBytesMax);
  if (!object) return tl::unexpected<Error>(object.error());
  std::vector<ItemResult> results(object->via.array.size);
  for (std::uint32_t i = 0; i < object->via.array.size; ++i) {
    const msgpack::object& item = object->via.array.ptr[i];
    ItemResult& result = results[i];
    if (const auto text = as_text(item)) {
      result.text = std::string(*text);
      continue;
    }
    if (!check_map(item)) return fail(Errc::kMalformed, "a result is neither str nor map");
    const msgpack::object* code = find_key(item, "code");
    const auto name = code == nullptr ? std::nullopt : as_text(*code);
    if (!name) return fail(Errc::kMalformed, "a result has no `code`");
    result.code = code_from_name(*name).value_or(Errc::kInternal);
    const msgpack::object* duplicate = find_key(item, "duplicate");
    result.duplicate = duplicate != nullptr && duplicate->type == msgpack::type::BOOLEAN && duplicate->via.boolean;
    if (const msgpack::object* message = find_key(item, "message")) {
      result.text = std::string(as_text(*message).value_or(""));
    }
  }
  return results;
}

DeliveryWriter::DeliveryWriter(std::size_t bytes_expected) {
  out_.reserve(bytes_expected);
  begin_array(out_);
}

void DeliveryWriter::begin(const DeliveryHead& head) {
  Packer packer(out_);
  const std::size_t pairs = head.attributes.empty() ? 0 : static_cast<std::size_t>(head.attributes.front());
  const bool has_id = !stored_id(head.attributes).empty();
  packer.map(kDeliveryPairs - (has_id ? 1 : 0) + pairs + (head.priority != 0 ? 1 : 0) +
             (head.expires_ms.value != 0 ? 1 : 0) + (head.first_ms.value != 0 ? 2 : 0) + (head.reason.empty() ? 0 : 1));
  if (!has_id) {
    packer.text(kId);
    char id[kMessageIdTextMax];
    packer.text({id, write_message_id(head.receipt.partition, head.receipt.lsn, id)});
  }
  packer.text("receipt");
  char text[kReceiptTextMax];
  packer.text({text, write_receipt(head.receipt, text)});
  pack_number(packer, "deliveries", head.deliveries);
  pack_number(packer, "sent_ms", static_cast<std::uint64_t>(head.sent_ms.value));
  if (head.priority != 0) pack_number(packer, "priority", head.priority);
  if (head.expires_ms.value != 0) pack_number(packer, "expires_ms", static_cast<std::uint64_t>(head.expires_ms.value));
  if (head.first_ms.value != 0) {
    pack_number(packer, "first_ms", static_cast<std::uint64_t>(head.first_ms.value));
    pack_number(packer, "last_ms", static_cast<std::uint64_t>(head.last_ms.value));
  }
  if (!head.reason.empty()) {
    packer.text("reason");
    packer.text(head.reason);
  }
  if (pairs != 0) packer.raw(head.attributes.substr(1));
  packer.text("body");
  if (head.body_bytes < 256) {
    out_ += {'\xc4', static_cast<char>(head.body_bytes)};
  } else {
    const char size[5] = {'\xc6', static_cast<char>(head.body_bytes >> 24), static_cast<char>(head.body_bytes >> 16),
                          static_cast<char>(head.body_bytes >> 8), static_cast<char>(head.body_bytes)};
    out_.append(size, 5);
  }
  ++count_;
}

void DeliveryWriter::take_back(std::size_t mark) {
  out_.resize(mark);
  --count_;
}

std::string DeliveryWriter::finish() {
  end_array(out_, count_);
  return std::move(out_);
}

Result<void> decode_deliveries(std::string_view payload, MsgpackReader& reader, std::vector<Delivery>& out) {
  out.clear();
  const auto object = read_array(payload, reader, kReplyBytesMax);
  if (!object) return tl::unexpected<Error>(object.error());
  for (std::uint32_t i = 0; i < object->via.array.size; ++i) {
    const msgpack::object& item = object->via.array.ptr[i];
    if (!check_map(item)) return fail(Errc::kMalformed, "a delivered message is no map");
    Delivery& message = out.emplace_back();
    const auto get = [&](std::string_view key) {
      const msgpack::object* value = find_key(item, key);
      return value == nullptr ? std::nullopt : as_bytes(*value);
    };
    const auto get_number = [&](std::string_view key) {
      const msgpack::object* value = find_key(item, key);
      return value == nullptr ? std::uint64_t{0} : as_number(*value).value_or(0);
    };
    const auto receipt = get("receipt");
    const auto body = get("body");
    if (!receipt || !body) return fail(Errc::kMalformed, "a delivered message lacks `receipt` or `body`");
    message.id = get("id").value_or("");
    message.receipt = *receipt;
    message.body = *body;
    message.deliveries = static_cast<std::uint32_t>(get_number("deliveries"));
    message.sent_ms = TimeMs{static_cast<std::int64_t>(get_number("sent_ms"))};
    if (item.via.map.size == kDeliveryPairs) continue;  // most have no more
    message.priority = static_cast<Priority>(get_number("priority"));
    message.expires_ms = TimeMs{static_cast<std::int64_t>(get_number("expires_ms"))};
    message.first_ms = TimeMs{static_cast<std::int64_t>(get_number("first_ms"))};
    message.last_ms = TimeMs{static_cast<std::int64_t>(get_number("last_ms"))};
    message.reason = get("reason").value_or("");
    auto attributes = read_shown_attributes(item);
    if (!attributes) return tl::unexpected<Error>(attributes.error());
    message.attributes = std::move(*attributes);
  }
  return {};
}

}  // namespace dmq
