// dmq-send --rate: messages leave evenly, and lost time is not made up for.
#include "clients/cli/pacer.hpp"

#include <catch2/catch.hpp>

namespace dmq::cli {
namespace {

using namespace std::chrono_literals;

constexpr Pacer::Clock::time_point kStart{1h};

}  // namespace

TEST_CASE("messages are due evenly from the first one on", "[client][cli]") {
  Pacer pacer(4, kStart);
  for (int i = 0; i < 10; ++i) {
    CHECK(pacer.due() == kStart + i * 250ms);
    pacer.on_sent(pacer.due() + 3ms);  // a little late each time, which does not add up
  }
}

TEST_CASE("a sender that was held up goes on at its rate without a burst", "[client][cli]") {
  Pacer pacer(100, kStart);
  const auto now = kStart + 5s;
  int at_once = 0;
  for (; pacer.due() <= now; ++at_once) pacer.on_sent(now);
  CHECK(at_once == 3);  // what 20 ms hold, and its own
  CHECK(pacer.due() == now + 10ms);
}

TEST_CASE("less than one a second, many a millisecond, and no rate at all", "[client][cli]") {
  Pacer slow(0.1, kStart);
  slow.on_sent(kStart);
  CHECK(slow.due() == kStart + 10s);
  Pacer fast(100'000, kStart);
  int in_a_millisecond = 0;
  for (; fast.due() < kStart + 1ms; ++in_a_millisecond) fast.on_sent(kStart + 1ms);
  CHECK(in_a_millisecond == 100);
  Pacer free(0, kStart);
  free.on_sent(kStart + 1s);
  CHECK(free.due() <= kStart + 1s);
}

}  // namespace dmq::cli
