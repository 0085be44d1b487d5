// A seed of the simulator is one history: what it found can be found again.
#include <catch2/catch.hpp>

#include "tests/sim/simulation.hpp"

using namespace dmq::sim;

namespace {

// The hash of what happened, or how the history ended before its time.
std::string history(std::uint64_t seed) {
  try {
    const Outcome outcome = Simulation(seed, false).run();
    return std::to_string(outcome.hash) + " after " + std::to_string(outcome.events) + " events";
  } catch (const Violation& violation) {
    return violation.what();
  }
}

}  // namespace

TEST_CASE("a seed of the simulator is always the same history", "[sim]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) CHECK(history(seed) == history(seed));
}

TEST_CASE("two seeds of the simulator are two histories", "[sim]") { CHECK(history(1) != history(2)); }
