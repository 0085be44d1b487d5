// Codecs of the payload frames (docs/protocol.md, "Operations").
#include "protocol/payload.hpp"

#include <array>

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

// Message keys that the protocol names and this broker does not offer yet: refused, never silently dropped.
constexpr std::array<std::string_view, 9> kReservedKeys{
    "priority", "delay_ms", "deliver_at", "ttl_ms", "key", "dedup_id", "content_type", "correlation_id", "traceparent"};

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

Error bad_message(Errc code, std::string context) { return Error{code, std::move(context)}; }

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

void read_message_map(const msgpack::object& object, SendItem& item) {
  if (auto map = check_map(object); !map) {
    item.error = bad_message(Errc::kMalformed, "message: " + map.error().context);
    return;
  }
  for (const std::string_view key : kReservedKeys) {
    if (find_key(object, key) == nullptr) continue;
    item.error = bad_message(Errc::kUnsupported, "this broker does not offer `" + std::string(key) + "`");
    return;
  }
  const msgpack::object* body = find_key(object, "body");
  const auto bytes = body == nullptr ? std::nullopt : as_bytes(*body);
  if (!bytes) {
    item.error = bad_message(Errc::kMalformed, "a message has no `body` of bin or str");
    return;
  }
  item.body = *bytes;
  const msgpack::object* headers = find_key(object, "headers");
  if (headers == nullptr) return;
  const auto views = read_headers(*headers);
  if (!views) {
    item.error = views.error();
    return;
  }
  item.attributes = pack_attributes(*views);
}

}  // namespace

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
      read_message_map(message, item);
    } else {
      item.error = bad_message(Errc::kMalformed, "a message must be a map, or bin or str for a body alone");
    }
    if (item.body.size() > kMessageBytesMax) item.error = bad_message(Errc::kTooLarge, "the body is over 16 MiB");
  }
  return {};
}

std::string pack_attributes(const std::vector<HeaderView>& headers) {
  if (headers.empty()) return {};
  std::string out(1, '\1');
  Packer packer(out);
  packer.text("headers");
  packer.map(headers.size());
  for (const auto& [name, value] : headers) {
    packer.text(name);
    packer.bytes(value);
  }
  return out;
}

SendWriter::SendWriter() { begin_array(out_); }

void SendWriter::add(std::string_view body, std::string_view attributes) {
  Packer packer(out_);
  if (!attributes.empty()) {
    packer.map(1 + static_cast<std::size_t>(attributes.front()));
    packer.raw(attributes.substr(1));
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

void DeliveryWriter::begin(const Receipt& receipt, std::uint32_t deliveries, TimeMs sent_ms,
                           std::string_view attributes, std::size_t body_bytes) {
  Packer packer(out_);
  const std::size_t pairs = attributes.empty() ? 0 : static_cast<std::size_t>(attributes.front());
  packer.map(5 + pairs);
  packer.text("id");
  char id[kMessageIdTextMax];
  packer.text({id, write_message_id(receipt.partition, receipt.lsn, id)});
  packer.text("receipt");
  char text[kReceiptTextMax];
  packer.text({text, write_receipt(receipt, text)});
  packer.text("deliveries");
  packer.number(deliveries);
  packer.text("sent_ms");
  packer.number(static_cast<std::uint64_t>(sent_ms.value));
  if (pairs != 0) packer.raw(attributes.substr(1));
  packer.text("body");
  if (body_bytes < 256) {
    out_ += {'\xc4', static_cast<char>(body_bytes)};
  } else {
    const char size[5] = {'\xc6', static_cast<char>(body_bytes >> 24), static_cast<char>(body_bytes >> 16),
                          static_cast<char>(body_bytes >> 8), static_cast<char>(body_bytes)};
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
    if (const msgpack::object* headers = find_key(item, "headers")) {
      auto views = read_headers(*headers);
      if (!views) return tl::unexpected<Error>(views.error());
      message.headers = std::move(*views);
    }
  }
  return {};
}

}  // namespace dmq
