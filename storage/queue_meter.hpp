// How much goes through a queue: totals, and how many in the last seconds.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "protocol/queue_stats.hpp"

namespace dmq {

// Knows no clock. Not thread-safe. count() costs a few additions and allocates nothing but once, when it is first used:
// a queue that nobody uses takes no more than its totals.
class QueueMeter {
 public:
  // `now`: of the steady clock, never less than the one before.
  void count(Traffic kind, std::uint64_t messages, TimeMs now);
  const TrafficCounts& totals() const { return totals_; }
  // In the window of kTrafficWindow seconds before the one that is running, and in that.
  TrafficCounts recent(TimeMs now) const;
  // How long that window is, ms: it ends now, and begins with a whole second.
  static DurationMs window(TimeMs now) { return {kWindowSeconds * 1000 + now.value % 1000}; }

 private:
  static constexpr std::int64_t kWindowSeconds = 10;
  static constexpr std::size_t kSlots = kWindowSeconds + 1;
  struct Slot {
    std::int64_t second = -1;
    std::array<std::uint32_t, kTrafficKinds> counts{};
  };

  TrafficCounts totals_{};
  std::unique_ptr<std::array<Slot, kSlots>> slots_;  // one a second, by its number modulo kSlots
};

}  // namespace dmq
