// Backups of a data directory that may be in use, and data directories made of them.
#pragma once

#include <string>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// Copies what a broker, a worker or metad has on disk in `data_dir` to the new directory `to`, all stores as they are
// at one moment: what a kill -9 of the program at that moment would have left. So what was confirmed before is in it,
// and stores and catalog fit together. Run by a process of its own, since LMDB lets no process open a store twice.
// Returns a sentence about what was copied. Errors, each a plain sentence, and nothing is left behind:
// invalid_argument (no data there, `to` is taken), unsupported (a store of an older format), unavailable (no
// permission, another backup to `to`), insufficient_storage, internal (a store is damaged).
Result<std::string> back_up(const std::string& data_dir, const std::string& to);

// Makes the new data directory `data_dir` of a backup, which stays as it is. Nothing that was given after the backup is
// given again: the generation of its catalog is raised. Returns a sentence that tells how to start on it. Errors: as
// back_up(). LIMIT: restored a second time it gives the same numbers as the first time, so a receipt of the one broker
// may name a lease of the other.
Result<std::string> restore(const std::string& backup, const std::string& data_dir, TimeMs wall);

}  // namespace dmq
