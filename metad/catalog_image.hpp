// What of the catalog is durable: the shape in which the controller and the store exchange it.
#pragma once

#include <cstdint>
#include <vector>

#include "protocol/catalog.hpp"

namespace dmq {

struct CatalogCounters {
  std::uint64_t generation = 0;  // raised by an operator only
  CatalogVersion version;        // of the last change
  std::uint16_t partitions = 0;  // set once, at the first start
  QueueId last_queue;            // the highest id ever given
  SessionId last_session;        // the highest session ever given, to a router or a worker
  bool operator==(const CatalogCounters&) const = default;
};

// Everything that a restart needs: the counters and one record for each queue, deleted queue, placed partition and
// worker, and for the cluster.
struct CatalogImage {
  CatalogCounters counters;
  std::vector<CatalogChange> records;
};

}  // namespace dmq
