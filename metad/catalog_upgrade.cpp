// See catalog_upgrade.hpp.
#include "metad/catalog_upgrade.hpp"

#include <map>

namespace dmq {

void upgrade_to_2(CatalogImage& image, std::uint64_t cluster_id) {
  std::map<std::string, WorkerInfo> workers;
  for (const CatalogChange& record : image.records) {
    if (const auto* worker = std::get_if<WorkerInfo>(&record)) workers.emplace(worker->name, *worker);
  }
  for (CatalogChange& record : image.records) {
    auto* partition = std::get_if<PartitionInfo>(&record);
    if (partition == nullptr) continue;
    ++image.counters.version.value;  // copies of the old catalog must not pass for this one
    partition->version = PartitionVersion{1};
    if (partition->leader.empty()) continue;
    partition->replicas = {partition->leader};
    const WorkerInfo& worker = workers[partition->leader];
    if (worker.alive) {
      partition->leader_session = worker.session;
      partition->in_sync = partition->replicas;
    } else {
      partition->leader.clear();
      ++partition->epoch.value;
      partition->eligible = partition->replicas;
    }
  }
  ++image.counters.version.value;
  image.records.emplace_back(ClusterInfo{cluster_id, 1, 1});
}

}  // namespace dmq
