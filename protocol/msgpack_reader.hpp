// Bounded reading of one MessagePack value: the only way by which bytes from outside become objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <msgpack.hpp>
#include <optional>
#include <string_view>

#include "protocol/error.hpp"

namespace dmq {

// How large a value may claim to be. Without limits msgpack-c asks for 137 GB on 8 bytes of input.
struct ReadLimits {
  std::size_t array_items;
  std::size_t map_keys;
  std::size_t string_bytes;
  std::size_t binary_bytes;
  std::size_t values = SIZE_MAX;  // of all arrays and maps together: one byte of input can cost 24 of memory
};

// Reads values whose strings point into the caller's bytes (no copy). Not thread-safe; keep one per loop: its
// arena is reused, so an object is valid until the next read.
class MsgpackReader {
 public:
  // One value that fills `bytes` exactly. Errors: malformed (bad encoding, trailing bytes, too deep, extension
  // types), too_large (a count or the sum of the counts over its limit).
  Result<msgpack::object> read(std::string_view bytes, const ReadLimits& limits);

 private:
  msgpack::zone zone_;
};

// How many bytes the first of some values one behind the other takes; 0: it goes on behind `bytes`. Errors: malformed
// (bad encoding, too deep, extension types).
Result<std::size_t> first_value_bytes(std::string_view bytes);

// A map with string keys, each at most once. Errors: malformed.
Result<void> check_map(const msgpack::object& object);

// The value of `key`, or null.
const msgpack::object* find_key(const msgpack::object& map, std::string_view key);

std::optional<std::string_view> as_text(const msgpack::object& object);   // str
std::optional<std::string_view> as_bytes(const msgpack::object& object);  // bin, or str taken as its bytes
std::optional<std::uint64_t> as_number(const msgpack::object& object);    // 0 to 2^53

// Valid UTF-8 (no surrogates, no overlong forms) without control characters.
bool is_clean_utf8(std::string_view text);

// A word of a client as an error sentence may repeat it: itself, or "?" where that would be long or no valid str.
std::string_view repeatable(std::string_view text);

// A name that a queue may have. Errors: invalid_argument, saying what is wrong.
Result<void> check_queue_name(std::string_view name);

}  // namespace dmq
