// Backoff: fixed, linear or exponential, with a limit and with jitter.
#include "protocol/retry_policy.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::uint32_t kDoublingsMost = 32;

std::int64_t grown(const RetryPolicy& policy, std::uint32_t deliveries, std::int64_t most) {
  const std::int64_t base = std::min(policy.delay_ms.value, most);
  const std::uint32_t steps = std::max(deliveries, 1u);
  switch (policy.backoff) {
    case Backoff::kFixed:
      return base;
    case Backoff::kLinear:
      return base > most / steps ? most : base * steps;
    case Backoff::kExponential: {
      const std::uint32_t doublings = std::min(steps - 1, kDoublingsMost);
      return base > (most >> doublings) ? most : base << doublings;
    }
  }
  return base;
}

}  // namespace

DurationMs retry_delay(const RetryPolicy& policy, std::uint32_t deliveries, std::uint64_t random) {
  const std::int64_t most = policy.max_delay_ms.value == 0 ? kRetryDelayMost.value : policy.max_delay_ms.value;
  const std::int64_t delay = grown(policy, deliveries, most);
  const std::int64_t spread = delay / 100 * static_cast<std::int64_t>(policy.jitter) +
                              delay % 100 * static_cast<std::int64_t>(policy.jitter) / 100;
  if (spread == 0) return {delay};
  return {delay - static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(spread) + 1))};
}

}  // namespace dmq
