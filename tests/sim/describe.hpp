// What replicas say, and where a partition stands, in words for the trace.
#pragma once

#include <string>

#include "storage/partition.hpp"

namespace dmq::sim {

std::string describe(const PeerMessage& message);
std::string describe(const PartitionInfo& info);
std::string describe(const Partition& partition);

}  // namespace dmq::sim
