// Catalogs that an older metad wrote.
#pragma once

#include "metad/catalog_image.hpp"

namespace dmq {

// Format 1 knew of a partition its epoch and the name of its leader, and no cluster. Each partition becomes one with a
// single replica: in sync when the worker is alive, else eligible, so that it leads again when it comes back.
void upgrade_to_2(CatalogImage& image, std::uint64_t cluster_id);

}  // namespace dmq
