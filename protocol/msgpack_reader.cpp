// Limits, profile checks and conversions for msgpack values.
#include "protocol/msgpack_reader.hpp"

#include "protocol/limits.hpp"

namespace dmq {
namespace {

bool reference(msgpack::type::object_type, std::size_t, void*) { return true; }

std::string_view text_of(const msgpack::object& object) { return {object.via.str.ptr, object.via.str.size}; }

// Adds up what the arrays and maps of a value claim to hold, without making objects; stops when it is too much.
struct ValueCounter : msgpack::null_visitor {
  std::size_t left;
  std::size_t depth = 0;
  bool over = false;

  explicit ValueCounter(std::size_t values_max) : left(values_max) {}
  bool take(std::size_t values) {
    over = values > left;
    left -= over ? 0 : values;
    return !over && ++depth <= kDepthMax;
  }
  bool start_array(std::uint32_t items) { return take(items); }
  bool start_map(std::uint32_t pairs) { return take(std::size_t{2} * pairs); }
  bool end_array() { return --depth, true; }
  bool end_map() { return --depth, true; }
};

// Only a value of more bytes than its values_max can hold more values; any other fault is left to the reading itself.
bool holds_too_many(std::string_view bytes, std::size_t values_max) {
  if (bytes.size() <= values_max) return false;
  ValueCounter counter(values_max);
  std::size_t offset = 0;
  msgpack::parse(bytes.data(), bytes.size(), offset, counter);
  return counter.over;
}

// Passes over a value, and notes how that ended when it is not whole.
struct ValueWalker : msgpack::null_visitor {
  std::size_t depth = 0;
  bool goes_on = false;

  bool enter() { return ++depth <= kDepthMax; }
  bool start_array(std::uint32_t) { return enter(); }
  bool start_map(std::uint32_t) { return enter(); }
  bool end_array() { return --depth, true; }
  bool end_map() { return --depth, true; }
  bool visit_ext(const char*, std::uint32_t) { return false; }
  void insufficient_bytes(std::size_t, std::size_t) { goes_on = true; }
};

// Length of a UTF-8 sequence by its first byte, or 0 when none begins so.
std::size_t length_of(unsigned char lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

// Length of the UTF-8 sequence at text[at], or 0 when it is not valid there.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const std::size_t length = length_of(lead);
  if (length == 0 || at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  }
  if (length == 3 && ((lead == 0xe0 && byte(at + 1) < 0xa0) || (lead == 0xed && byte(at + 1) >= 0xa0))) return 0;
  if (length == 4 && ((lead == 0xf0 && byte(at + 1) < 0x90) || (lead == 0xf4 && byte(at + 1) >= 0x90))) return 0;
  return length;
}

}  // namespace

Result<msgpack::object> MsgpackReader::read(std::string_view bytes, const ReadLimits& limits) {
  zone_.clear();
  std::size_t offset = 0;
  try {
    if (holds_too_many(bytes, limits.values)) {
      return fail(Errc::kTooLarge, "the MessagePack value holds too many values");
    }
    const msgpack::unpack_limit bounds(limits.array_items, limits.map_keys, limits.string_bytes, limits.binary_bytes,
                                       /*ext=*/0, kDepthMax);
    const msgpack::object object =
        msgpack::unpack(zone_, bytes.data(), bytes.size(), offset, &reference, nullptr, bounds);
    if (offset != bytes.size()) return fail(Errc::kMalformed, "there are bytes behind the MessagePack value");
    return object;
  } catch (const msgpack::depth_size_overflow&) {
    return fail(Errc::kMalformed, "the MessagePack value is nested deeper than 8");
  } catch (const msgpack::ext_size_overflow&) {
    return fail(Errc::kMalformed, "MessagePack extension types are not part of the protocol");
  } catch (const msgpack::size_overflow&) {
    return fail(Errc::kTooLarge, "a count or length in the MessagePack value is over its limit");
  } catch (const msgpack::unpack_error&) {
    return fail(Errc::kMalformed, "not a complete MessagePack value");
  } catch (const std::bad_alloc&) {
    return fail(Errc::kTooLarge, "the MessagePack value needs too much memory");
  }
}

Result<std::size_t> first_value_bytes(std::string_view bytes) {
  ValueWalker walker;
  std::size_t offset = 0;
  if (msgpack::parse(bytes.data(), bytes.size(), offset, walker)) return offset;
  if (walker.goes_on) return std::size_t{0};
  return fail(Errc::kMalformed, "no MessagePack, or nested deeper than 8, or with extension types");
}

Result<void> check_map(const msgpack::object& object) {
  if (object.type != msgpack::type::MAP) return fail(Errc::kMalformed, "expected a MessagePack map");
  const auto& map = object.via.map;
  for (std::uint32_t i = 0; i < map.size; ++i) {
    if (map.ptr[i].key.type != msgpack::type::STR) return fail(Errc::kMalformed, "a map key is no string");
    for (std::uint32_t j = 0; j < i; ++j) {
      if (text_of(map.ptr[i].key) == text_of(map.ptr[j].key)) {
        return fail(Errc::kMalformed, "a map has the same key twice");
      }
    }
  }
  return {};
}

const msgpack::object* find_key(const msgpack::object& map, std::string_view key) {
  for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
    if (text_of(map.via.map.ptr[i].key) == key) return &map.via.map.ptr[i].val;
  }
  return nullptr;
}

std::optional<std::string_view> as_text(const msgpack::object& object) {
  if (object.type != msgpack::type::STR) return std::nullopt;
  return text_of(object);
}

std::optional<std::string_view> as_bytes(const msgpack::object& object) {
  if (object.type == msgpack::type::STR) return text_of(object);
  if (object.type == msgpack::type::BIN) return std::string_view{object.via.bin.ptr, object.via.bin.size};
  return std::nullopt;
}

std::optional<std::uint64_t> as_number(const msgpack::object& object) {
  if (object.type != msgpack::type::POSITIVE_INTEGER || object.via.u64 > kNumberMax) return std::nullopt;
  return object.via.u64;
}

bool is_clean_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequence_length(text, at);
    const auto lead = static_cast<unsigned char>(text[at]);
    const bool c1_control = length == 2 && lead == 0xc2 && static_cast<unsigned char>(text[at + 1]) < 0xa0;
    if (length == 0 || lead < 0x20 || lead == 0x7f || c1_control) return false;
    at += length;
  }
  return true;
}

std::string_view repeatable(std::string_view text) { return text.size() <= 40 && is_clean_utf8(text) ? text : "?"; }

Result<void> check_queue_name(std::string_view name) {
  if (name.empty()) return fail(Errc::kInvalidArgument, "the queue name is empty");
  if (name.size() > kQueueNameBytesMax) return fail(Errc::kInvalidArgument, "the queue name is longer than 200 bytes");
  if (!is_clean_utf8(name)) {
    return fail(Errc::kInvalidArgument, "the queue name is not UTF-8 text without control characters");
  }
  return {};
}

}  // namespace dmq
