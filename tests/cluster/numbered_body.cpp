// See numbered_body.hpp.
#include "tests/cluster/numbered_body.hpp"

#include <algorithm>
#include <cstring>

namespace dmq::cluster {
namespace {

constexpr std::size_t kNameBytes = 16;
constexpr std::uint64_t kPatternBytesMax = 20 * 1024;
constexpr std::uint64_t kSmallBytesMax = 600;

// splitmix64: each step gives the next 64 bits.
std::uint64_t next_bits(std::uint64_t& state) {
  state += 0x9e3779b97f4a7c15u;
  std::uint64_t bits = state;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return bits ^ (bits >> 31);
}

}  // namespace

std::string make_body(const MessageName& name, std::uint64_t seed) {
  std::uint64_t state = seed ^ (name.counter << 20) ^ (std::uint64_t{name.producer} << 10) ^ name.queue;
  const bool large = next_bits(state) % 8 == 0;
  const std::uint64_t size = next_bits(state) % ((large ? kPatternBytesMax : kSmallBytesMax) + 1);
  std::string body(kNameBytes + size, '\0');
  std::memcpy(body.data(), &name.queue, 4);
  std::memcpy(body.data() + 4, &name.producer, 4);
  std::memcpy(body.data() + 8, &name.counter, 8);
  for (std::size_t at = kNameBytes; at < body.size(); at += 8) {
    const std::uint64_t bits = next_bits(state);
    std::memcpy(body.data() + at, &bits, std::min<std::size_t>(8, body.size() - at));
  }
  return body;
}

std::optional<MessageName> read_body(std::string_view body, std::uint64_t seed) {
  if (body.size() < kNameBytes) return std::nullopt;
  MessageName name;
  std::memcpy(&name.queue, body.data(), 4);
  std::memcpy(&name.producer, body.data() + 4, 4);
  std::memcpy(&name.counter, body.data() + 8, 8);
  if (make_body(name, seed) != body) return std::nullopt;
  return name;
}

}  // namespace dmq::cluster
