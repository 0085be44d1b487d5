// Codec of pages and cursors (docs/protocol.md, "browse").
#include "protocol/browse.hpp"

#include <charconv>

#include "protocol/attributes_codec.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kPageLimits{.array_items = kBatchMessagesMax,
                                 .map_keys = kMessageHeadersMax,
                                 .string_bytes = kReplyBytesMax,
                                 .binary_bytes = kReplyBytesMax,
                                 .values = kPayloadValuesMax};
constexpr std::size_t kBrowsedPairs = 6;     // that each message has
constexpr std::size_t kCountAt = 1 + 9 + 1;  // of the array's count: behind the map, "messages" and the array's type

// Takes a number without leading zeros from the front of `text`.
template <class Number>
bool take_number(std::string_view& text, Number& out) {
  if (text.empty() || (text.size() > 1 && text[0] == '0' && text[1] >= '0' && text[1] <= '9')) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end == text.data()) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return true;
}

bool take_dash(std::string_view& text) {
  if (!text.starts_with('-')) return false;
  text.remove_prefix(1);
  return true;
}

void put_time(Packer& packer, std::string_view key, TimeMs time) {
  if (time.value != 0) pack_number(packer, key, static_cast<std::uint64_t>(time.value));
}

std::string_view until_key(MessageState state) {
  return state == MessageState::kDelayed ? "ready_ms" : state == MessageState::kLeased ? "lease_until_ms" : "";
}

Result<Browsed> read_browsed(const msgpack::object& item) {
  if (!check_map(item)) return fail(Errc::kMalformed, "a message that is shown is no map");
  const auto get = [&](std::string_view key) {
    const msgpack::object* value = find_key(item, key);
    return value == nullptr ? std::nullopt : as_bytes(*value);
  };
  const auto number = [&](std::string_view key) {
    const msgpack::object* value = find_key(item, key);
    return value == nullptr ? std::uint64_t{0} : as_number(*value).value_or(0);
  };
  const auto time = [&](std::string_view key) { return TimeMs{static_cast<std::int64_t>(number(key))}; };
  const auto body = get("body");
  if (!body) return fail(Errc::kMalformed, "a message that is shown has no `body`");
  auto attributes = read_shown_attributes(item);
  if (!attributes) return tl::unexpected<Error>(attributes.error());
  Browsed message;
  message.id = get("id").value_or("");
  message.state = get("state").value_or("");
  message.body = *body;
  message.size = number("size");
  message.deliveries = static_cast<std::uint32_t>(number("deliveries"));
  message.priority = static_cast<Priority>(number("priority"));
  message.sent_ms = time("sent_ms");
  message.expires_ms = time("expires_ms");
  message.ready_ms = time("ready_ms");
  message.lease_until_ms = time("lease_until_ms");
  message.cause = get("cause").value_or("");
  message.reason = get("reason").value_or("");
  message.attributes = std::move(*attributes);
  return message;
}

}  // namespace

std::string cursor_text(const BrowseCursor& cursor) {
  return message_id_text(cursor.partition, cursor.lsn) + "-" + std::to_string(cursor.priority);
}

std::optional<BrowseCursor> parse_cursor(std::string_view text) {
  BrowseCursor cursor;
  const bool good = take_number(text, cursor.partition.value) && take_dash(text) &&
                    take_number(text, cursor.lsn.value) && take_dash(text) && take_number(text, cursor.priority);
  if (!good || !text.empty() || cursor.priority >= kPriorities) return std::nullopt;
  return cursor;
}

BrowseWriter::BrowseWriter() {
  Packer packer(out_);
  packer.map(1);
  packer.text("messages");
  packer.raw({"\xdd\0\0\0\0", 5});
}

void BrowseWriter::add(const BrowsedHead& head, std::string_view body) {
  Packer packer(out_);
  const std::size_t pairs = head.attributes.empty() ? 0 : static_cast<std::size_t>(head.attributes.front());
  const std::string_view until = until_key(head.state);
  const bool has_until = !until.empty() && head.until_ms.value != 0;
  const bool has_id = !stored_id(head.attributes).empty();
  packer.map(kBrowsedPairs - (has_id ? 1 : 0) + pairs + (head.priority != 0 ? 1 : 0) +
             (head.expires_ms.value != 0 ? 1 : 0) + (has_until ? 1 : 0) + (head.cause.empty() ? 0 : 1) +
             (head.reason.empty() ? 0 : 1));
  if (!has_id) pack_text(packer, "id", message_id_text(head.partition, head.lsn));
  packer.text("state");
  packer.text(state_name(head.state));
  pack_number(packer, "deliveries", head.deliveries);
  pack_number(packer, "sent_ms", static_cast<std::uint64_t>(head.sent_ms.value));
  if (head.priority != 0) pack_number(packer, "priority", head.priority);
  put_time(packer, "expires_ms", head.expires_ms);
  if (has_until) put_time(packer, until, head.until_ms);
  if (!head.cause.empty()) pack_text(packer, "cause", head.cause);
  if (!head.reason.empty()) pack_text(packer, "reason", head.reason);
  if (pairs != 0) packer.raw(head.attributes.substr(1));
  pack_number(packer, "size", head.size);
  packer.text("body");
  packer.bytes(body);
  ++count_;
}

std::string BrowseWriter::finish(const std::optional<BrowseCursor>& after) {
  for (std::size_t i = 0; i < 4; ++i) out_[kCountAt + i] = static_cast<char>(count_ >> (24 - 8 * i));
  if (!after) return std::move(out_);
  out_[0] = '\x82';
  Packer packer(out_);
  packer.text("after");
  packer.text(cursor_text(*after));
  return std::move(out_);
}

Result<BrowsePage> decode_browse(std::string_view payload, MsgpackReader& reader) {
  if (payload.size() > kReplyBytesMax) return fail(Errc::kTooLarge, "the payload frame is over 64 MiB");
  const auto object = reader.read(payload, kPageLimits);
  if (!object) return tl::unexpected<Error>(object.error());
  if (auto map = check_map(*object); !map) return fail(Errc::kMalformed, "page: " + map.error().context);
  const msgpack::object* messages = find_key(*object, "messages");
  if (messages == nullptr || messages->type != msgpack::type::ARRAY)
    return fail(Errc::kMalformed, "a page has no array of `messages`");
  BrowsePage page;
  if (const msgpack::object* after = find_key(*object, "after")) page.after = as_text(*after).value_or("");
  for (std::uint32_t i = 0; i < messages->via.array.size; ++i) {
    auto message = read_browsed(messages->via.array.ptr[i]);
    if (!message) return tl::unexpected<Error>(message.error());
    page.messages.push_back(std::move(*message));
  }
  return page;
}

std::string encode_purged(std::uint64_t removed) {
  std::string out;
  Packer packer(out);
  packer.map(1);
  pack_number(packer, "removed", removed);
  return out;
}

}  // namespace dmq
