// The cached catalog: snapshots replace it, updates that join on to it change it.
#include <algorithm>

#include "protocol/catalog.hpp"

namespace dmq {

bool lists(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

void CatalogCopy::apply(CatalogSnapshot snapshot) {
  generation_ = snapshot.generation;
  version_ = snapshot.version;
  partitions_ = snapshot.partitions;
  cluster_ = snapshot.cluster;
  queue_ids_.clear();
  queues_.clear();
  deleted_.clear();
  workers_.clear();
  partition_infos_.assign(partitions_, {});
  for (std::uint16_t i = 0; i < partitions_; ++i) partition_infos_[i].id = PartitionId{i};
  for (const QueueId id : snapshot.deleted) deleted_.insert(id);
  for (QueueInfo& queue : snapshot.queues) put(std::move(queue));
  for (PartitionInfo& partition : snapshot.partition_infos) put(std::move(partition));
  for (WorkerInfo& worker : snapshot.workers) put(std::move(worker));
}

CatalogCopy::Applied CatalogCopy::apply(const CatalogUpdate& update) {
  if (empty() || update.generation > generation_) return Applied::kGap;
  if (update.generation < generation_) return Applied::kOld;
  if (update.before > version_) return Applied::kGap;
  if (update.version <= version_) return Applied::kOld;
  // A snapshot may lie inside an update: changes are puts, so doing some of them again ends in the same state.
  for (const CatalogChange& change : update.changes) put(change);
  version_ = update.version;
  return Applied::kDone;
}

void CatalogCopy::put(const CatalogChange& change) {
  if (const auto* queue = std::get_if<QueueInfo>(&change)) {
    const auto [at, is_new] = queues_.try_emplace(queue->name);
    if (!is_new) queue_ids_.erase(at->second.id);
    at->second = *queue;
    queue_ids_[queue->id] = &at->second;
  } else if (const auto* deleted = std::get_if<QueueDeleted>(&change)) {
    deleted_.insert(deleted->id);
    const auto found = queue_ids_.find(deleted->id);
    if (found == queue_ids_.end()) return;
    const auto named = queues_.find(found->second->name);
    queue_ids_.erase(found);
    queues_.erase(named);
  } else if (const auto* partition = std::get_if<PartitionInfo>(&change)) {
    if (partition->id.value < partitions_) partition_infos_[partition->id.value] = *partition;
  } else if (const auto* worker = std::get_if<WorkerInfo>(&change)) {
    workers_[worker->name] = *worker;
  } else if (const auto* cluster = std::get_if<ClusterInfo>(&change)) {
    cluster_ = *cluster;
  } else if (const auto* forgotten = std::get_if<WorkerForgotten>(&change)) {
    workers_.erase(forgotten->name);
  }
}

const QueueInfo* CatalogCopy::find_queue(std::string_view name) const {
  const auto found = queues_.find(name);
  return found == queues_.end() ? nullptr : &found->second;
}

const QueueInfo* CatalogCopy::find_queue(QueueId id) const {
  const auto found = queue_ids_.find(id);
  return found == queue_ids_.end() ? nullptr : found->second;
}

const PartitionInfo* CatalogCopy::find_partition(PartitionId id) const {
  return id.value < partition_infos_.size() ? &partition_infos_[id.value] : nullptr;
}

const WorkerInfo* CatalogCopy::find_worker(std::string_view name) const {
  const auto found = workers_.find(name);
  return found == workers_.end() ? nullptr : &found->second;
}

}  // namespace dmq
