// What can be set of a queue: the values, their ranges, and how they are written.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/confirmation.hpp"
#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/retry_policy.hpp"

namespace dmq {

class MsgpackReader;

// How many of so many messages each priority gives while all have some; zeros: a higher one goes first always.
using PriorityWeights = std::array<std::uint8_t, kPriorities>;

// What a full queue does with a message that comes.
enum class WhenFull : std::uint8_t {
  kReject,      // it is refused
  kDropOldest,  // the oldest ready ones go
  kDeadLetter,  // the oldest ready ones go to the dead-letter queue
};

inline constexpr std::array<std::string_view, 3> kWhenFullNames{"reject", "drop_oldest", "dead_letter"};

// 0: no limit.
struct QueueLimits {
  std::uint64_t messages = 0;       // in any state, but those that are on their way to another queue
  std::uint64_t bytes = 0;          // of their records
  std::uint64_t message_bytes = 0;  // of one body
  std::uint64_t leased = 0;         // at the same time
  std::uint64_t leased_by_one = 0;  // by each consumer that names itself
  WhenFull when_full = WhenFull::kReject;
  bool operator==(const QueueLimits&) const = default;
};

// What becomes of a message whose `dedup_id` another one of the queue had.
enum class DedupMode : std::uint8_t {
  kWindow,        // it is not taken for a while after the other was
  kWhilePresent,  // it is not taken as long as the other is in the queue
  kReplace,       // it takes the place of the other, if that one is not with a consumer
};

inline constexpr std::array<std::string_view, 3> kDedupModeNames{"window", "while_present", "replace"};

struct DedupPolicy {
  DedupMode mode = DedupMode::kWindow;
  DurationMs window_ms{kDedupWindowMsDefault};
  bool operator==(const DedupPolicy&) const = default;
};

struct QueueSettings {
  DurationMs lease_ms{kLeaseMsDefault};  // lease of a receive that names none
  Confirmation confirm = Confirmation::kInSync;
  DurationMs delay_ms;                 // of messages that say nothing of a delay
  DurationMs ttl_ms;                   // of messages that say nothing of it; 0: they do not expire
  PriorityWeights priority_weights{};  // each from 1, or all 0
  bool pause_send = false;             // nothing is taken
  bool pause_receive = false;          // nothing is handed out; what is out can be settled
  RetryPolicy retry;
  QueueLimits limits;
  DedupPolicy dedup;
  std::string dead_letter;           // the queue for messages that cannot be done; empty: they stay, dead
  std::string owner;                 // who cares for the queue, for people; empty: nobody is named
  std::uint16_t partitions = 1;      // over which the queue is spread; it never shrinks
  std::uint16_t key_partitions = 0;  // the first so many have messages with keys; 0: one. It never changes
  bool operator==(const QueueSettings&) const = default;
};

// Settings as pairs of a map; those that are their defaults are left out, but for lease_ms and confirm.
struct SettingPairs {
  std::size_t count = 0;
  std::string packed;
};
SettingPairs pack_setting_pairs(const QueueSettings& settings);

// queue.create: an optional map of settings; an absent or empty payload means the defaults.
// queue.update: what the map does not name stays as it is in `settings`.
// Errors: malformed, invalid_argument (a value out of range, an unknown setting: a typing error must not be silent).
Result<QueueSettings> decode_queue_settings(std::string_view payload, MsgpackReader& reader,
                                            QueueSettings settings = {});
std::string encode_queue_settings(const QueueSettings& settings);

}  // namespace dmq
