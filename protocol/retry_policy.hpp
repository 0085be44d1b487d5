// When a message that came back is given out again.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "protocol/ids.hpp"

namespace dmq {

enum class Backoff : std::uint8_t { kFixed, kLinear, kExponential };

struct RetryPolicy {
  std::uint64_t max_deliveries = 0;  // then the message is dead; 0: it never is
  Backoff backoff = Backoff::kFixed;
  DurationMs delay_ms;       // after the first delivery
  DurationMs max_delay_ms;   // 0: no limit but the longest of delays
  std::uint64_t jitter = 0;  // percent of the delay by which it may be shorter
  bool operator==(const RetryPolicy&) const = default;
};

inline constexpr std::array<std::string_view, 3> kBackoffNames{"fixed", "linear", "exponential"};  // by Backoff

inline constexpr std::uint64_t kMaxDeliveriesMost = 1'000'000;
inline constexpr DurationMs kRetryDelayMost{std::int64_t{365} * 86'400'000};

// The delay after `deliveries` that counted, at least one. `random`: any number; the same one gives the same delay.
DurationMs retry_delay(const RetryPolicy& policy, std::uint32_t deliveries, std::uint64_t random);

}  // namespace dmq
