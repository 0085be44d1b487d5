// The payload of queue.stats: what is in a queue, and what goes through it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/ids.hpp"
#include "protocol/queue_info.hpp"

namespace dmq {

// What is counted, in the order of kTrafficNames. Returned: by a nack, or because its lease ended. Expired: its time to
// live was over.
enum class Traffic : std::uint8_t { kSent, kDelivered, kAcked, kReturned, kExpired };
inline constexpr std::size_t kTrafficKinds = 5;
inline constexpr std::array<std::string_view, kTrafficKinds> kTrafficNames{"sent", "delivered", "acked", "returned",
                                                                           "expired"};
using TrafficCounts = std::array<std::uint64_t, kTrafficKinds>;  // by Traffic

struct QueueStats {
  std::string name;
  QueueStatus status;
  TimeMs at_ms;      // the worker's clock, since 1970
  TimeMs oldest_ms;  // when the oldest ready message was sent; 0: there is none
  TimeMs since_ms;   // when the totals began
  TrafficCounts totals{};
  DurationMs recent_ms;  // the length of the window of `recent`, which ends at `at_ms`
  TrafficCounts recent{};
};
std::string encode_queue_stats(const QueueStats& stats);

}  // namespace dmq
