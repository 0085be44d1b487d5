// What a confirmation means: a queue's choice, and in each reply that confirms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dmq {

// A send, an ack or a nack is confirmed once all in-sync replicas have it on disk, or once the leader has, which a
// change of leader may undo. The texts of the wire are "in_sync" and "leader".
enum class Confirmation : std::uint8_t { kInSync, kLeader };

inline constexpr std::size_t kConfirmationTextMax = 16;
std::string_view confirmation_name(Confirmation confirmation);
std::optional<Confirmation> confirmation_from_name(std::string_view name);

}  // namespace dmq
