// What the catalog tells an operator, as numbers and rows for people and scripts.
#pragma once

#include <vector>

#include "dmq/value.hpp"
#include "protocol/metad_messages.hpp"

namespace dmq::cli {

// One map; and a row for each worker, each partition.
Value status_of(const CatalogSnapshot& catalog);
std::vector<Value> member_rows(const CatalogSnapshot& catalog);
std::vector<Value> partition_rows(const CatalogSnapshot& catalog);
Value partition_row(const PartitionInfo& partition);

}  // namespace dmq::cli
