// What is wrong with a cluster and what to do about it, as sentences for an operator.
#pragma once

#include <optional>
#include <string>

#include "protocol/metad_messages.hpp"

namespace dmq::cli {

// Does it have a leader, and as many copies in sync as it has replicas and the cluster keeps? Of one that moves the
// copies to come are too many, so only those that the cluster keeps are asked for.
bool is_complete(const PartitionInfo& partition, std::size_t kept);

// The worst first, as one sentence; empty when all partitions are complete.
std::optional<std::string> fault_of(const CatalogSnapshot& catalog);

// Why `worker`, which is drained, keeps what it still holds, and what to do; empty when only time is needed.
std::optional<std::string> drain_obstacle(const CatalogSnapshot& catalog, const std::string& worker);
// Why `worker` cannot be forgotten, and what to do first.
std::optional<std::string> forget_obstacle(const CatalogSnapshot& catalog, const std::string& worker);
// Why a partition that moves does not arrive, and what to do; empty when only time is needed.
std::optional<std::string> move_obstacle(const CatalogSnapshot& catalog, const PartitionInfo& partition);

}  // namespace dmq::cli
