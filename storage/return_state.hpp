// What a message has been through, beyond its record: kept from when it first comes back until it is gone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/invariant.hpp"

namespace dmq {

// Why a message is no longer given out.
enum class MoveCause : std::uint8_t {
  kNone = 0,           // it is
  kMaxDeliveries = 1,  // it came back too often
  kRejected = 2,       // a consumer said that it can never be done
  kExpired = 3,
  kRedrive = 4,    // it goes back to where it came from
  kQueueFull = 5,  // it made room for a newer one
};
std::string_view move_cause_name(MoveCause cause);

// Out of its queue, to another one or to none.
struct Move {
  MoveCause cause = MoveCause::kNone;
  QueueId to;              // 0: it stays, dead
  std::uint64_t mark = 0;  // of the record that said so: grows along the log of its partition, whoever leads

  bool is_set() const { return cause != MoveCause::kNone; }
  bool operator==(const Move&) const = default;
};

// Terms grow, and so do places within one; a leader that was forced may give a place again, in a later term. A mark
// that did not grow would be taken for one that came before, and its message be lost: 1,048,575 terms, 17 million
// million places.
inline constexpr unsigned kMarkPlaceBits = 44;
inline std::uint64_t move_mark(Epoch epoch, Lsn lsn) {
  check_invariant(epoch.value >> (64 - kMarkPlaceBits) == 0 && lsn.value >> kMarkPlaceBits == 0,
                  "a partition has less than 2^20 terms and 2^44 records");
  return (std::uint64_t{epoch.value} << kMarkPlaceBits) | lsn.value;
}

// A lease that is in the log, because its message has an ordering key: whoever leads next keeps it.
struct LoggedLease {
  LeaseId id;           // epoch 0: there is none
  DurationMs duration;  // that a new leader gives it anew, on its own clock
  TimeMs given_ms;      // since 1970

  bool is_set() const { return id.epoch.value != 0; }
  bool operator==(const LoggedLease&) const = default;
};

struct ReturnState {
  std::uint32_t deliveries = 0;  // that counted until now
  TimeMs ready_ms;               // since 1970; 0: at once
  TimeMs first_ms;               // of the first delivery that counted; 0: there was none
  TimeMs last_ms;                // of the last one
  std::string reason;            // that the last nack gave
  Move move;
  LoggedLease lease;

  // As if it had never been given out: nothing of it is kept.
  bool is_empty() const { return deliveries == 0 && ready_ms.value == 0 && !move.is_set() && !lease.is_set(); }
  bool operator==(const ReturnState&) const = default;
};

// Little-endian, without padding: deliveries u32, ready_ms i64, first_ms i64, last_ms i64, cause u8, to u64, mark u64,
// with 128 added to the cause the lease (encode_lease), and the reason's bytes. Of an empty state: nothing.
std::string encode_return_state(const ReturnState& state);
// Errors: malformed.
Result<ReturnState> decode_return_state(std::string_view bytes);

// Likewise: epoch u32, number u32, duration i64, given_ms i64.
inline constexpr std::size_t kLeaseBytes = 4 + 4 + 8 + 8;
void encode_lease(const LoggedLease& lease, std::string& out);
LoggedLease take_lease(std::string_view& bytes);  // REQUIRES: so many bytes

}  // namespace dmq
