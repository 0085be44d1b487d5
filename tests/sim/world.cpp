// The heap of events and the hash of what happened.
#include "tests/sim/world.hpp"

#include <algorithm>
#include <cstdio>

namespace dmq::sim {

void violated(const std::string& what) { throw Violation(what); }

// splitmix64: any seed will do, also 0, 1, 2.
std::uint64_t Random::next() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void World::at(std::int64_t time, Action action) {
  events_.push_back({std::max(time, now_), order_++, std::move(action)});
  std::push_heap(events_.begin(), events_.end());
}

bool World::step(std::int64_t until) {
  if (events_.empty() || events_.front().at > until) {
    now_ = std::max(now_, until);
    return false;
  }
  std::pop_heap(events_.begin(), events_.end());
  const Event event = std::move(events_.back());
  events_.pop_back();
  now_ = event.at;
  ++mark_;
  event.action();
  return true;
}

void World::note(std::string_view what, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  for (const std::uint64_t part :
       {static_cast<std::uint64_t>(now_), static_cast<std::uint64_t>(what.size()), a, b, c}) {
    hash_ = (hash_ ^ part) * 0x9e3779b97f4a7c15;
    hash_ ^= hash_ >> 29;
  }
  if (trace_) {
    trace(std::string(what) + " " + std::to_string(a) + " " + std::to_string(b) + " " + std::to_string(c));
  }
}

void World::trace(const std::string& text) const {
  std::fprintf(stderr, "%7.3f #%llu %s\n", static_cast<double>(now_) / 1000, static_cast<unsigned long long>(mark_),
               text.c_str());
}

}  // namespace dmq::sim
