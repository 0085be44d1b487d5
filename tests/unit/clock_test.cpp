// The two clocks: a time of the wall that is waited for by the steady one is never early.
#include "runtime/clock.hpp"

#include <catch2/catch.hpp>

using namespace dmq;
using namespace std::chrono_literals;

TEST_CASE("a delay by the steady clock ends within the wall's millisecond, whatever their fractions", "[runtime]") {
  constexpr auto kSteady = 1h;
  constexpr auto kWall = 500'000h;
  constexpr std::int64_t kDelayMs = 5;
  for (auto steady_part = 0us; steady_part < 1ms; steady_part += 90us) {
    for (auto wall_part = 0us; wall_part < 1ms; wall_part += 90us) {
      const ClockReading taken = clock_reading(kSteady + steady_part, kWall + wall_part);
      const std::chrono::milliseconds due{taken.wall.value + kDelayMs};  // of the wall
      const std::chrono::milliseconds ends{taken.steady.value + kDelayMs};
      const auto wall_then = kWall + wall_part + (ends - (kSteady + steady_part));
      CHECK(wall_then >= due);
      CHECK(wall_then < due + 1ms);
    }
  }
}

TEST_CASE("the clocks that are read agree with those that are read alone", "[runtime]") {
  const TimeMs steady_before = steady_now();
  const TimeMs wall_before = wall_now();
  const ClockReading clocks = read_clocks();
  CHECK(clocks.steady >= steady_before);
  CHECK(clocks.steady <= steady_now());
  CHECK(clocks.wall.value >= wall_before.value - 1);
  CHECK(clocks.wall <= wall_now());
}
