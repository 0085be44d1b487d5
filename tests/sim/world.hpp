// Virtual time, chance from one seed, and the list of what is to happen: the ground that a simulated cluster stands on.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dmq::sim {

// A rule of the system was broken; the text says which.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void violated(const std::string& what);
inline void must(bool holds, const char* what) {
  if (!holds) violated(what);
}

// Everything that is random comes from here, so a seed is a history.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next();
  std::int64_t below(std::int64_t count) {
    return static_cast<std::int64_t>(next() % static_cast<std::uint64_t>(count));
  }
  std::int64_t between(std::int64_t least, std::int64_t most) { return least + below(most - least + 1); }
  bool chance(double probability) { return static_cast<double>(next() >> 11) * 0x1.0p-53 < probability; }

 private:
  std::uint64_t state_;
};

struct Moment {
  std::uint64_t mark = 0;
  std::int64_t ms = 0;
};

class World {
 public:
  using Action = std::function<void()>;

  World(std::uint64_t seed, bool trace) : random(seed), trace_(trace) {}

  std::int64_t now() const { return now_; }  // ms
  // Events so far: tells of two things in one millisecond which came first.
  std::uint64_t mark() const { return mark_; }
  Moment moment() const { return {mark_, now_}; }
  void at(std::int64_t time, Action&& action);
  void in(std::int64_t ms, Action&& action) { at(now_ + ms, std::move(action)); }
  // How long something of this history takes: all is `pace` times as fast in one that is brief.
  std::int64_t span(std::int64_t least, std::int64_t most) { return (random.between(least, most) + pace - 1) / pace; }
  // The next action, when there is one until `until`; otherwise time goes on to there.
  bool step(std::int64_t until);

  // Goes into the hash of the history, by which two runs are compared, and into the trace.
  void note(std::string_view what, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0);
  bool tracing() const { return trace_; }
  void trace(const std::string& text) const;
  std::uint64_t hash() const { return hash_; }

  Random random;
  std::int64_t pace = 1;

 private:
  const bool trace_;
  std::int64_t now_ = 0;
  std::uint64_t mark_ = 0;
  std::uint64_t hash_ = 0;
  // What is to happen in one millisecond, in the order in which it was said: indices of events_.
  static constexpr std::size_t kNone = SIZE_MAX;
  struct List {
    std::size_t first = kNone;
    std::size_t last = kNone;
  };
  struct Event {
    Action action;
    std::size_t next = kNone;
  };
  std::size_t keep(Action&& action);
  void do_first(List& list);

  static constexpr std::int64_t kNear = 1024;
  static std::size_t near_place(std::int64_t time) { return static_cast<std::uint64_t>(time) % kNear; }
  std::array<List, kNear> near_;      // of the next milliseconds
  std::map<std::int64_t, List> far_;  // of those behind
  std::deque<Event> events_;          // none moves while it happens
  std::size_t free_ = kNone;          // the first place of events_ that is free; `next` leads to the others
};

// What is to be done once, at the earliest of the times that were said since it was done last.
class Alarm {
 public:
  Alarm(World& world, World::Action action) : world_(world), action_(std::move(action)) {}

  void at(std::int64_t time);
  void cancel() { due_ = kNever; }

 private:
  static constexpr std::int64_t kNever = INT64_MAX;
  void ring(std::int64_t time);

  World& world_;
  const World::Action action_;
  std::int64_t due_ = kNever;
  std::vector<std::int64_t> rings_;  // of the world; also those that are not due any more
};

}  // namespace dmq::sim
