// See cluster_view.hpp.
#include "clients/cli/cluster_view.hpp"

#include <algorithm>
#include <functional>

#include "clients/cli/cluster_faults.hpp"

namespace dmq::cli {
namespace {

Value number(std::uint64_t value) { return Value(static_cast<std::int64_t>(value)); }

Value list(const std::vector<std::string>& names) {
  Value::List out;
  for (const std::string& name : names) out.emplace_back(name);
  return Value(std::move(out));
}

std::string state_of(const WorkerInfo& worker) {
  std::string state = worker.alive ? "" : "dead";
  const auto add = [&state](bool is_so, const char* word) {
    if (is_so) state += (state.empty() ? "" : ", ") + std::string(word);
  };
  add(worker.draining, "draining");
  add(worker.fenced_by_operator, "fenced");
  return state.empty() ? "alive" : state;
}

std::uint64_t count_where(const CatalogSnapshot& catalog, const std::string& worker,
                          std::vector<std::string> PartitionInfo::*names) {
  return static_cast<std::uint64_t>(
      std::count_if(catalog.partition_infos.begin(), catalog.partition_infos.end(),
                    [&](const PartitionInfo& each) { return lists(each.*names, worker); }));
}

Value member_row(const CatalogSnapshot& catalog, const WorkerInfo& worker) {
  const auto leads = std::count_if(catalog.partition_infos.begin(), catalog.partition_infos.end(),
                                   [&](const PartitionInfo& each) { return each.leader == worker.name; });
  return Value(Value::Map{{"name", Value(worker.name)},
                          {"zone", Value(worker.zone)},
                          {"endpoint", Value(worker.endpoint)},
                          {"state", Value(state_of(worker))},
                          {"leads", number(static_cast<std::uint64_t>(leads))},
                          {"holds", number(count_where(catalog, worker.name, &PartitionInfo::replicas))},
                          {"in_sync", number(count_where(catalog, worker.name, &PartitionInfo::in_sync))},
                          {"sync", Value(worker.sync)}});
}

struct PartitionCounts {
  std::size_t complete = 0;
  std::size_t below_minimum = 0;  // sends to them are refused
  std::size_t leaderless = 0;
  std::size_t moving = 0;
};

PartitionCounts count_partitions(const CatalogSnapshot& catalog) {
  PartitionCounts counts;
  for (const PartitionInfo& partition : catalog.partition_infos) {
    counts.complete += is_complete(partition, catalog.cluster.replication_factor) ? 1 : 0;
    counts.below_minimum += partition.in_sync.size() < partition.min_in_sync ? 1 : 0;
    counts.leaderless += partition.leader.empty() ? 1 : 0;
    counts.moving += partition.target.empty() ? 0 : 1;
  }
  return counts;
}

Value partition_counts(const CatalogSnapshot& catalog) {
  const PartitionCounts counts = count_partitions(catalog);
  const std::size_t all = catalog.partition_infos.size();
  return Value(Value::Map{{"all", number(all)},
                          {"in_sync", number(counts.complete)},
                          {"under_replicated", number(all - counts.complete)},
                          {"below_min_in_sync", number(counts.below_minimum)},
                          {"without_leader", number(counts.leaderless)},
                          {"moving", number(counts.moving)},
                          {"waiting_to_move", number(catalog.waiting)}});
}

Value worker_counts(const CatalogSnapshot& catalog) {
  const std::vector<WorkerInfo>& workers = catalog.workers;
  const auto count = [&workers](auto field) {
    return static_cast<std::uint64_t>(std::count_if(workers.begin(), workers.end(), std::mem_fn(field)));
  };
  const std::uint64_t alive = count(&WorkerInfo::alive);
  return Value(Value::Map{{"alive", number(alive)},
                          {"dead", number(workers.size() - alive)},
                          {"draining", number(count(&WorkerInfo::draining))},
                          {"fenced", number(count(&WorkerInfo::fenced_by_operator))}});
}

}  // namespace

Value status_of(const CatalogSnapshot& catalog) {
  return Value(Value::Map{{"cluster", number(catalog.cluster.id)},
                          {"generation", number(catalog.generation)},
                          {"version", number(catalog.version.value)},
                          {"replicas", number(catalog.cluster.replication_factor)},
                          {"min_in_sync", number(catalog.cluster.min_in_sync)},
                          {"partitions", partition_counts(catalog)},
                          {"workers", worker_counts(catalog)}});
}

std::vector<Value> member_rows(const CatalogSnapshot& catalog) {
  std::vector<Value> rows;
  for (const WorkerInfo& worker : catalog.workers) rows.push_back(member_row(catalog, worker));
  return rows;
}

std::vector<Value> partition_rows(const CatalogSnapshot& catalog) {
  std::vector<Value> rows;
  for (const PartitionInfo& partition : catalog.partition_infos) rows.push_back(partition_row(partition));
  return rows;
}

Value partition_row(const PartitionInfo& partition) {
  return Value(Value::Map{{"partition", number(partition.id.value)},
                          {"epoch", number(partition.epoch.value)},
                          {"leader", Value(partition.leader)},
                          {"replicas", list(partition.replicas)},
                          {"in_sync", list(partition.in_sync)},
                          {"eligible", list(partition.eligible)},
                          {"unclean", list(partition.unclean)},
                          {"target", list(partition.target)}});
}

}  // namespace dmq::cli
