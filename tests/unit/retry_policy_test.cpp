// Delays between deliveries: how they grow, where they stop, and how they scatter.
#include "protocol/retry_policy.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <vector>

namespace dmq {
namespace {

std::vector<std::int64_t> first_delays(const RetryPolicy& policy, std::uint32_t count) {
  std::vector<std::int64_t> delays;
  for (std::uint32_t deliveries = 1; deliveries <= count; ++deliveries) {
    delays.push_back(retry_delay(policy, deliveries, 0).value);
  }
  return delays;
}

}  // namespace

TEST_CASE("without a delay a message is ready at once", "[protocol][retry]") {
  for (const Backoff backoff : {Backoff::kFixed, Backoff::kLinear, Backoff::kExponential}) {
    CHECK(retry_delay({.backoff = backoff, .jitter = 100}, 7, 12345).value == 0);
  }
}

TEST_CASE("delays are fixed, linear or exponential", "[protocol][retry]") {
  using Delays = std::vector<std::int64_t>;
  CHECK(first_delays({.backoff = Backoff::kFixed, .delay_ms = {100}}, 4) == Delays{100, 100, 100, 100});
  CHECK(first_delays({.backoff = Backoff::kLinear, .delay_ms = {100}}, 4) == Delays{100, 200, 300, 400});
  CHECK(first_delays({.backoff = Backoff::kExponential, .delay_ms = {100}}, 4) == Delays{100, 200, 400, 800});
}

TEST_CASE("a delay grows to its limit and no further", "[protocol][retry]") {
  RetryPolicy policy{.backoff = Backoff::kExponential, .delay_ms = {100}, .max_delay_ms = {350}};
  CHECK(first_delays(policy, 4) == std::vector<std::int64_t>{100, 200, 350, 350});
  policy.backoff = Backoff::kLinear;
  CHECK(first_delays(policy, 4) == std::vector<std::int64_t>{100, 200, 300, 350});
  policy.max_delay_ms = {50};
  CHECK(retry_delay(policy, 1, 0).value == 50);
  policy.max_delay_ms = {};
  for (const Backoff backoff : {Backoff::kLinear, Backoff::kExponential}) {
    policy.backoff = backoff;
    policy.delay_ms = kRetryDelayMost;
    CHECK(retry_delay(policy, UINT32_MAX, 0) == kRetryDelayMost);
    policy.delay_ms = {1000};
    CHECK(retry_delay(policy, UINT32_MAX, 0).value > 1000);
    CHECK(retry_delay(policy, UINT32_MAX, 0).value <= kRetryDelayMost.value);
  }
}

TEST_CASE("jitter makes a delay shorter by so many percent at most", "[protocol][retry]") {
  const RetryPolicy policy{.delay_ms = {1000}, .jitter = 20};
  std::set<std::int64_t> seen;
  for (std::uint64_t random = 0; random < 1000; ++random) seen.insert(retry_delay(policy, 1, random).value);
  CHECK(*seen.begin() == 800);
  CHECK(*seen.rbegin() == 1000);
  CHECK(seen.size() == 201);
  CHECK(retry_delay({.delay_ms = {1000}, .jitter = 100}, 1, 1000).value == 0);
}

}  // namespace dmq
