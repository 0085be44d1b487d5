// Whether a store can be trusted, decided at its start, before LMDB opens it.
#pragma once

#include <functional>
#include <string>

#include "protocol/error.hpp"
#include "storage/commit_mark.hpp"

namespace dmq {

enum class StoreCondition : std::uint8_t {
  kSound,    // or there is none yet
  kOld,      // whole, but not the newest: it was put back to an earlier time
  kDamaged,  // what holds the records together is damaged: pages, or side rows
  kForeign,  // no store of ours, as far as can be seen
};

struct StoreVerdict {
  StoreCondition condition = StoreCondition::kSound;
  std::string what;  // unless sound
};

// Reads all pages of `directory`/data.mdb and verifies every side row. Records are left to their own checksums, and to
// the tally of their partition.
StoreVerdict check_store(const std::string& directory, const CommitMark& mark);

}  // namespace dmq
