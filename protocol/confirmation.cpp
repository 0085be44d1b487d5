// The texts of confirmations.
#include "protocol/confirmation.hpp"

namespace dmq {

std::string_view confirmation_name(Confirmation confirmation) {
  return confirmation == Confirmation::kInSync ? "in_sync" : "leader";
}

std::optional<Confirmation> confirmation_from_name(std::string_view name) {
  for (const Confirmation each : {Confirmation::kInSync, Confirmation::kLeader}) {
    if (confirmation_name(each) == name) return each;
  }
  return std::nullopt;
}

}  // namespace dmq
