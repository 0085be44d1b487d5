// Where the replicas of a partition belong: rendezvous hashing over workers, spread over zones.
#pragma once

#include <string>
#include <vector>

#include "protocol/catalog.hpp"

namespace dmq {

// The `count` workers whose names score highest with the partition, the highest first, which is to lead; fewer when
// there are fewer. A zone gets a second replica only when each zone has one; no zone is a zone like another. Because
// each pair has its own score, a worker that comes or goes moves only the replicas that it wins or held.
std::vector<std::string> choose_replicas(const std::vector<const WorkerInfo*>& candidates, PartitionId partition,
                                         std::size_t count);

}  // namespace dmq
