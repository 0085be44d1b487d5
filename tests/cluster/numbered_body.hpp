// Bodies that tell which message they are and whether each byte is as it was sent.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dmq::cluster {

// The counter-th message of one producer to one queue, from 0.
struct MessageName {
  std::uint32_t queue = 0;
  std::uint32_t producer = 0;
  std::uint64_t counter = 0;

  auto operator<=>(const MessageName&) const = default;
};

// The name, then 0 to 20 KiB of a pattern; size and pattern follow from name and seed. Most bodies are small.
std::string make_body(const MessageName& name, std::uint64_t seed);
// Empty when these are not the very bytes that make_body gave for some name and this seed.
std::optional<MessageName> read_body(std::string_view body, std::uint64_t seed);

}  // namespace dmq::cluster
