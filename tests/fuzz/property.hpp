// What the fuzz targets have in common: input as text, properties that must hold, views that must stay inside it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "protocol/error.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

inline std::string_view input_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Stops the fuzzer with the property's words when it does not hold.
inline void must(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "PROPERTY BROKEN: %s\n", property);
  std::abort();
}

inline void must_be_inside(std::string_view view, std::string_view input) {
  must(view.empty() || (view.data() >= input.data() && view.data() + view.size() <= input.data() + input.size()),
       "a view points into the input");
}

// An error goes to a client as text: it must be one, and no longer than a person reads.
inline void must_be_readable(const Error& error) {
  must(error.code != Errc::kOk, "a failure has a code");
  must(!error.context.empty() && error.context.size() <= 400, "a failure says something short");
  must(is_clean_utf8(error.context), "what a failure says is clean UTF-8");
}

// What one decoder accepts, its encoder writes so that decoding and encoding again gives the same bytes.
template <class Decode, class Encode>
void check_codec(std::string_view input, Decode decode, Encode encode) {
  MsgpackReader reader;
  const auto value = decode(input, reader);
  if (!value) return must_be_readable(value.error());
  const std::string bytes = encode(*value);
  const auto again = decode(bytes, reader);
  must(again.has_value(), "an encoded value can be decoded");
  must(encode(*again) == bytes, "encode(decode(bytes)) are the bytes");
}

}  // namespace dmq
