// The states in which a message can be looked at, and the orders in which it can be shown: as the wire names them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dmq {

// In the order of kMessageStateNames. A new one is added at the end of both.
enum class MessageState : std::uint8_t { kReady, kDelayed, kLeased, kDead };
inline constexpr std::array<std::string_view, 4> kMessageStateNames{"ready", "delayed", "leased", "dead"};

// kOldest: as they were sent. kNext (ready ones only): as receives get them where priorities have no weights, higher
// ones first and otherwise the oldest first.
enum class BrowseOrder : std::uint8_t { kOldest, kNext };
inline constexpr std::array<std::string_view, 2> kBrowseOrderNames{"oldest", "next"};

inline std::string_view state_name(MessageState state) { return kMessageStateNames[static_cast<std::size_t>(state)]; }
inline std::string_view order_name(BrowseOrder order) { return kBrowseOrderNames[static_cast<std::size_t>(order)]; }

// The value that is so called; empty: none is.
template <class Enum, std::size_t kCount>
std::optional<Enum> value_named(const std::array<std::string_view, kCount>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

inline std::optional<MessageState> state_from_name(std::string_view name) {
  return value_named<MessageState>(kMessageStateNames, name);
}
inline std::optional<BrowseOrder> order_from_name(std::string_view name) {
  return value_named<BrowseOrder>(kBrowseOrderNames, name);
}

}  // namespace dmq
