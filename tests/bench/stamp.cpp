// See stamp.hpp.
#include "tests/bench/stamp.hpp"

#include <algorithm>
#include <cstring>

namespace dmq::bench {
namespace {

constexpr std::size_t kStride = 512;

std::uint64_t packed(const MessageName& name) {
  return std::uint64_t{name.run} << 48 | std::uint64_t{name.producer} << 36 | name.number;
}

// A different word for each name and place.
std::uint64_t word_at(std::uint64_t name, std::size_t place) {
  const std::uint64_t mixed = (name + place) * 0x9e3779b97f4a7c15u;
  return mixed ^ (mixed >> 29);
}

// Calls visit(place) for each place of a word, until it says false.
template <class Visit>
bool each_place(std::size_t size, Visit visit) {
  for (std::size_t place = kStampBytes; place + 8 <= size; place += kStride) {
    if (!visit(place)) return false;
  }
  return size < kStampBytes + 8 || visit(size - 8);
}

}  // namespace

void write_stamp(std::string& body, const MessageName& name, std::int64_t time_ns) {
  const std::uint64_t id = packed(name);
  std::memcpy(body.data(), &time_ns, 8);
  std::memcpy(body.data() + 8, &id, 8);
  each_place(body.size(), [&body, id](std::size_t place) {
    const std::uint64_t word = word_at(id, place);
    std::memcpy(body.data() + place, &word, 8);
    return true;
  });
}

Stamp read_stamp(std::string_view body, std::size_t size_expected) {
  Stamp stamp;
  if (body.size() != size_expected || body.size() < kStampBytes) return stamp;
  std::uint64_t id = 0;
  std::memcpy(&stamp.time_ns, body.data(), 8);
  std::memcpy(&id, body.data() + 8, 8);
  stamp.name.run = static_cast<std::uint16_t>(id >> 48);
  stamp.name.producer = static_cast<std::uint16_t>(id >> 36 & 0xfff);
  stamp.name.number = id & 0xfffffffffu;
  // The last word may overlap the one before it; it was written later, so only the last is then whole.
  const std::size_t last = body.size() - 8;
  stamp.intact = each_place(body.size(), [&body, id, last](std::size_t place) {
    if (place != last && place + 8 > last) return true;
    const std::uint64_t expected = word_at(id, place);
    return std::memcmp(body.data() + place, &expected, 8) == 0;
  });
  return stamp;
}

Arrivals::Arrivals(const std::vector<std::uint64_t>& sent_per_producer) {
  for (const std::uint64_t sent : sent_per_producer) seen_.emplace_back(sent, std::uint8_t{0});
}

void Arrivals::note(std::uint16_t producer, std::uint64_t number) {
  if (producer >= seen_.size() || number >= seen_[producer].size()) {
    ++invented_;
    return;
  }
  std::uint8_t& seen = seen_[producer][number];
  if (seen == 1) ++duplicated_;
  seen = 1;
}

void Arrivals::excuse(std::uint16_t producer, std::uint64_t number) {
  std::uint8_t& seen = seen_[producer][number];
  if (seen == 0) seen = 2;
}

std::uint64_t Arrivals::lost() const {
  std::uint64_t lost = 0;
  for (const auto& each : seen_) lost += static_cast<std::uint64_t>(std::count(each.begin(), each.end(), 0));
  return lost;
}

}  // namespace dmq::bench
