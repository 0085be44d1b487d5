// See placement.hpp.
#include "metad/placement.hpp"

#include <algorithm>

#include "protocol/partitioner.hpp"

namespace dmq {
namespace {

struct Scored {
  std::uint64_t score;
  const WorkerInfo* worker;
};

// The best one whose zone is in use `zone_uses` times at the most; null when there is none.
const WorkerInfo* best_of(const std::vector<Scored>& ranked, const std::vector<const WorkerInfo*>& chosen,
                          std::ptrdiff_t zone_uses) {
  for (const Scored& each : ranked) {
    if (std::find(chosen.begin(), chosen.end(), each.worker) != chosen.end()) continue;
    const auto uses = std::count_if(chosen.begin(), chosen.end(),
                                    [&](const WorkerInfo* other) { return other->zone == each.worker->zone; });
    if (uses <= zone_uses) return each.worker;
  }
  return nullptr;
}

}  // namespace

std::vector<std::string> choose_replicas(const std::vector<const WorkerInfo*>& candidates, PartitionId partition,
                                         std::size_t count) {
  std::vector<Scored> ranked;
  ranked.reserve(candidates.size());
  for (const WorkerInfo* worker : candidates) ranked.push_back({stable_hash(worker->name, partition.value), worker});
  std::sort(ranked.begin(), ranked.end(), [](const Scored& a, const Scored& b) {
    return a.score != b.score ? a.score > b.score : a.worker->name < b.worker->name;
  });
  std::vector<const WorkerInfo*> chosen;
  for (std::ptrdiff_t zone_uses = 0; chosen.size() < std::min(count, ranked.size());) {
    if (const WorkerInfo* next = best_of(ranked, chosen, zone_uses)) {
      chosen.push_back(next);
    } else {
      ++zone_uses;
    }
  }
  std::vector<std::string> names;
  for (const WorkerInfo* worker : chosen) names.push_back(worker->name);
  return names;
}

}  // namespace dmq
