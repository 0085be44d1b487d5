// After metad's data was restored from a backup: a new generation of the catalog (rule 12 of replication).
#pragma once

#include <string>

#include "metad/catalog_image.hpp"

namespace dmq {

// Members take the restored catalog for newer than the one they know, although its version is lower. Nothing that was
// given after the backup is given again: sessions go on from the wall clock, epochs, partition versions and queue ids
// leap. Nobody is alive and nobody leads until workers register; who was in sync is eligible.
// LIMIT: that is the in-sync set of the backup. A worker that fell out of it since may be elected before one that is
// complete, so start the workers that were in sync last first.
void raise_generation(CatalogImage& image, TimeMs wall);

// The same on disk, while no metad runs on it. The new generation. Errors: unavailable, unsupported, internal,
// invalid_argument when there is no catalog.
Result<std::uint64_t> raise_generation(const std::string& data_dir, TimeMs wall);

}  // namespace dmq
