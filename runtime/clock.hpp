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

// Since 1970, for times that are stored or shown. May jump.
inline TimeMs wall_now() {
  using namespace std::chrono;
  return {duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count()};
}

}  // namespace dmq
