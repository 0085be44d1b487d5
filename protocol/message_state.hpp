// The states in which a message can be looked at, and the orders in which it can be shown: as the wire names them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/enum_names.hpp"

namespace dmq {

// In the order of kMessageStateNames. A new one is added at the end of both.
enum class MessageState : std::uint8_t { kReady, kDelayed, kLeased, kDead };
inline constexpr std::array<std::string_view, 4> kMessageStateNames{"ready", "delayed", "leased", "dead"};

// kOldest: as they were sent. kNext (ready ones only): as receives get them where priorities have no weights, higher
// ones first and otherwise the oldest first.
enum class BrowseOrder : std::uint8_t { kOldest, kNext };
inline constexpr std::array<std::string_view, 2> kBrowseOrderNames{"oldest", "next"};

inline std::string_view state_name(MessageState state) { return name_of(kMessageStateNames, state); }
inline std::string_view order_name(BrowseOrder order) { return name_of(kBrowseOrderNames, order); }

inline std::optional<MessageState> state_from_name(std::string_view name) {
  return value_named<MessageState>(kMessageStateNames, name);
}
inline std::optional<BrowseOrder> order_from_name(std::string_view name) {
  return value_named<BrowseOrder>(kBrowseOrderNames, name);
}

}  // namespace dmq
