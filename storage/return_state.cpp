// Codec of what is kept of a message that came back.
#include "storage/return_state.hpp"

#include <cstring>

namespace dmq {
namespace {

constexpr std::size_t kFixedBytes = 4 + 8 + 8 + 8 + 1 + 8 + 8;
constexpr std::uint8_t kHasLease = 0x80;  // beside the cause

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
void get(std::string_view& bytes, T& value) {
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
}

}  // namespace

std::string_view move_cause_name(MoveCause cause) {
  switch (cause) {
    case MoveCause::kNone:
      return "";
    case MoveCause::kMaxDeliveries:
      return "max_deliveries";
    case MoveCause::kRejected:
      return "rejected";
    case MoveCause::kExpired:
      return "expired";
    case MoveCause::kRedrive:
      return "redrive";
    case MoveCause::kQueueFull:
      return "queue_full";
  }
  return "";
}

std::string encode_return_state(const ReturnState& state) {
  std::string out;
  if (state.is_empty()) return out;
  const bool leased = state.lease.is_set();
  out.reserve(kFixedBytes + (leased ? kLeaseBytes : 0) + state.reason.size());
  put(out, state.deliveries);
  put(out, state.ready_ms.value);
  put(out, state.first_ms.value);
  put(out, state.last_ms.value);
  put(out, static_cast<std::uint8_t>(static_cast<std::uint8_t>(state.move.cause) | (leased ? kHasLease : 0)));
  put(out, state.move.to.value);
  put(out, state.move.mark);
  if (leased) encode_lease(state.lease, out);
  return out.append(state.reason);
}

void encode_lease(const LoggedLease& lease, std::string& out) {
  put(out, lease.id.epoch.value);
  put(out, lease.id.number.value);
  put(out, lease.duration.value);
  put(out, lease.given_ms.value);
}

LoggedLease take_lease(std::string_view& bytes) {
  LoggedLease lease;
  get(bytes, lease.id.epoch.value);
  get(bytes, lease.id.number.value);
  get(bytes, lease.duration.value);
  get(bytes, lease.given_ms.value);
  return lease;
}

Result<ReturnState> decode_return_state(std::string_view bytes) {
  ReturnState state;
  if (bytes.empty()) return state;
  if (bytes.size() < kFixedBytes) return fail(Errc::kMalformed, "what is kept of a message ends too early");
  std::uint8_t cause = 0;
  get(bytes, state.deliveries);
  get(bytes, state.ready_ms.value);
  get(bytes, state.first_ms.value);
  get(bytes, state.last_ms.value);
  get(bytes, cause);
  get(bytes, state.move.to.value);
  get(bytes, state.move.mark);
  if ((cause & ~kHasLease) > static_cast<std::uint8_t>(MoveCause::kQueueFull))
    return fail(Errc::kMalformed, "a message is kept for a cause that is not known");
  state.move.cause = static_cast<MoveCause>(cause & ~kHasLease);
  if ((cause & kHasLease) != 0) {
    if (bytes.size() < kLeaseBytes) return fail(Errc::kMalformed, "what is kept of a message ends too early");
    state.lease = take_lease(bytes);
    if (!state.lease.is_set()) return fail(Errc::kMalformed, "a message is kept for a lease of no term");
  }
  state.reason = std::string(bytes);
  return state.is_empty() ? ReturnState{} : state;
}

}  // namespace dmq
