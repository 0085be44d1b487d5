// The two clocks. Loops read them once a turn and pass the time on; cores never read a clock.
#pragma once

#include <chrono>

#include "protocol/ids.hpp"

namespace dmq {

// Monotonic, for deadlines. Its zero means nothing.
inline TimeMs steady_now() {
  using namespace std::chrono;
  return {duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count()};
}

struct ClockReading {
  TimeMs steady;
  TimeMs wall;  // when this millisecond of the steady clock began
};

// The wall's milliseconds begin at other moments than the steady clock's. Of one tick, what is due at a time of the
// wall and is waited for by the steady clock comes within a millisecond of it, and never before.
inline ClockReading clock_reading(std::chrono::nanoseconds steady, std::chrono::nanoseconds wall) {
  using namespace std::chrono;
  const auto tick = floor<milliseconds>(steady);
  return {{tick.count()}, {floor<milliseconds>(wall - (steady - tick)).count()}};
}

// Both clocks. The wall is read first: a thread that is held up between the two makes things late, not early.
inline ClockReading read_clocks() {
  using namespace std::chrono;
  const auto wall = system_clock::now().time_since_epoch();
  return clock_reading(steady_clock::now().time_since_epoch(), wall);
}

// Since 1970, for times that are stored or shown. May jump.
inline TimeMs wall_now() {
  using namespace std::chrono;
  return {duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()};
}

}  // namespace dmq
