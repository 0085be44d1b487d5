// The list of events and the hash of what happened.
#include "tests/sim/world.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace dmq::sim {

void violated(const std::string& what) { throw Violation(what); }

// splitmix64: any seed will do, also 0, 1, 2.
std::uint64_t Random::next() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void World::at(std::int64_t time, Action&& action) {
  time = std::max(time, now_);
  List& list = time < now_ + kNear ? near_[near_place(time)] : far_[time];
  const std::size_t event = keep(std::move(action));
  (list.first == kNone ? list.first : events_[list.last].next) = event;
  list.last = event;
}

std::size_t World::keep(Action&& action) {
  if (free_ == kNone) {
    events_.push_back({std::move(action)});
    return events_.size() - 1;
  }
  const std::size_t event = free_;
  free_ = std::exchange(events_[event].next, kNone);
  events_[event].action.swap(action);  // there is none
  return event;
}

void World::do_first(List& list) {
  const std::size_t place = list.first;
  Event& event = events_[place];
  list.first = event.next;
  event.action();
  event.action = nullptr;
  event.next = std::exchange(free_, place);
}

bool World::step(std::int64_t until) {
  for (;;) {
    List& list = near_[near_place(now_)];
    if (list.first != kNone) {
      ++mark_;
      do_first(list);
      return true;
    }
    if (now_ >= until) return false;
    ++now_;
    // What was far when it was said comes before what is said from now on.
    if (far_.empty() || far_.begin()->first >= now_ + kNear) continue;
    near_[near_place(far_.begin()->first)] = far_.begin()->second;
    far_.erase(far_.begin());
  }
}

void Alarm::at(std::int64_t time) {
  time = std::max(time, world_.now());
  if (due_ <= time) return;
  due_ = time;
  if (std::find(rings_.begin(), rings_.end(), time) != rings_.end()) return;
  rings_.push_back(time);
  world_.at(time, [this, time] { ring(time); });
}

void Alarm::ring(std::int64_t time) {
  std::erase(rings_, time);
  if (due_ != time) return;
  due_ = kNever;
  action_();
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
