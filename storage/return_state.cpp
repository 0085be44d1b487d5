// Codec of what is kept of a message that came back.
#include "storage/return_state.hpp"

#include <cstring>

namespace dmq {
namespace {

constexpr std::size_t kFixedBytes = 4 + 8 + 8 + 8 + 1 + 8 + 8;

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
  out.reserve(kFixedBytes + state.reason.size());
  const auto put = [&out](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(state.deliveries);
  put(state.ready_ms.value);
  put(state.first_ms.value);
  put(state.last_ms.value);
  put(static_cast<std::uint8_t>(state.move.cause));
  put(state.move.to.value);
  put(state.move.mark);
  return out.append(state.reason);
}

Result<ReturnState> decode_return_state(std::string_view bytes) {
  ReturnState state;
  if (bytes.empty()) return state;
  if (bytes.size() < kFixedBytes) return fail(Errc::kMalformed, "what is kept of a message ends too early");
  const auto get = [&bytes](auto& value) {
    std::memcpy(&value, bytes.data(), sizeof value);
    bytes.remove_prefix(sizeof value);
  };
  std::uint8_t cause = 0;
  get(state.deliveries);
  get(state.ready_ms.value);
  get(state.first_ms.value);
  get(state.last_ms.value);
  get(cause);
  get(state.move.to.value);
  get(state.move.mark);
  if (cause > static_cast<std::uint8_t>(MoveCause::kQueueFull))
    return fail(Errc::kMalformed, "a message is kept for a cause that is not known");
  state.move.cause = static_cast<MoveCause>(cause);
  state.reason = std::string(bytes);
  return state.is_empty() ? ReturnState{} : state;
}

}  // namespace dmq
