// See cluster_faults.hpp.
#include "clients/cli/cluster_faults.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

constexpr std::size_t kNamesShownMax = 4;

using Partitions = std::vector<const PartitionInfo*>;

// "'a', 'b' and 3 more".
std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < std::min(names.size(), kNamesShownMax); ++i) {
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  }
  const std::size_t more = names.size() - std::min(names.size(), kNamesShownMax);
  return more == 0 ? text : text + " and " + grouped(more) + " more";
}

const WorkerInfo* find(const CatalogSnapshot& catalog, const std::string& name) {
  const auto found = std::find_if(catalog.workers.begin(), catalog.workers.end(),
                                  [&](const WorkerInfo& each) { return each.name == name; });
  return found == catalog.workers.end() ? nullptr : &*found;
}

template <class Test>
Partitions partitions_that(const CatalogSnapshot& catalog, Test test) {
  Partitions out;
  for (const PartitionInfo& partition : catalog.partition_infos) {
    if (test(partition)) out.push_back(&partition);
  }
  return out;
}

// Of the workers that miss in the in-sync sets of `partitions`, those for which `test` holds. With nobody in sync only
// those count that have everything, as far as there are any.
template <class Test>
std::vector<std::string> missing(const CatalogSnapshot& catalog, const Partitions& partitions, Test test) {
  std::vector<std::string> names;
  for (const PartitionInfo* partition : partitions) {
    const bool known = partition->leader.empty() && !partition->eligible.empty();
    for (const std::string& name : known ? partition->eligible : partition->replicas) {
      const WorkerInfo* worker = find(catalog, name);
      if (worker == nullptr || lists(partition->in_sync, name) || lists(names, name)) continue;
      if (test(*worker)) names.push_back(name);
    }
  }
  return names;
}

// Who can take copies now.
std::size_t count_able(const CatalogSnapshot& catalog) {
  return static_cast<std::size_t>(
      std::count_if(catalog.workers.begin(), catalog.workers.end(), [](const WorkerInfo& each) {
        return each.alive && !each.fenced_by_operator && !each.draining && !each.log_endpoint.empty();
      }));
}

std::string keep_fewer() { return "keep fewer copies with: dmq cluster set --replicas N"; }

std::string remedy_for(const CatalogSnapshot& catalog, const Partitions& partitions) {
  const auto dead = missing(catalog, partitions, [](const WorkerInfo& each) { return !each.alive; });
  const auto fenced = missing(catalog, partitions, [](const WorkerInfo& each) { return each.fenced_by_operator; });
  if (!dead.empty()) return "start " + listed(dead) + " again";
  if (!fenced.empty()) return "take the fence from " + listed(fenced) + " away with: dmq cluster fence NAME --undo";
  if (count_able(catalog) < catalog.cluster.replication_factor) return "start another worker, or " + keep_fewer();
  return "wait, copies are being made; see them with: dmq cluster partitions";
}

std::string have(const Partitions& partitions) {
  return counted(partitions.size(), "partition") + (partitions.size() == 1 ? " has " : " have ");
}

std::string leaderless_fault(const CatalogSnapshot& catalog, const Partitions& partitions) {
  return have(partitions) + "no leader, so " + (partitions.size() == 1 ? "its" : "their") +
         " queues are not served: " + remedy_for(catalog, partitions) +
         "; when that is impossible, see: dmq cluster force-leader --help";
}

std::string incomplete_fault(const CatalogSnapshot& catalog, const Partitions& partitions) {
  const std::string remedy = remedy_for(catalog, partitions);
  const bool gone = remedy.starts_with("start '") && count_able(catalog) >= catalog.cluster.replication_factor;
  return have(partitions) + "fewer complete copies than the " + std::to_string(catalog.cluster.replication_factor) +
         " that the cluster keeps: " + remedy +
         (gone ? ", or let the others take its place with: dmq cluster drain NAME" : "");
}

}  // namespace

bool is_complete(const PartitionInfo& partition, std::size_t kept) {
  const std::size_t wanted = partition.target.empty() ? std::max(partition.replicas.size(), kept) : kept;
  return !partition.leader.empty() && partition.in_sync.size() >= wanted;
}

std::optional<std::string> fault_of(const CatalogSnapshot& catalog) {
  if (catalog.workers.empty()) return "no worker has registered yet; start one with: dmq-storage --metad ENDPOINT";
  const Partitions leaderless = partitions_that(catalog, [](const PartitionInfo& each) { return each.leader.empty(); });
  if (!leaderless.empty()) return leaderless_fault(catalog, leaderless);
  const Partitions refusing =
      partitions_that(catalog, [](const PartitionInfo& each) { return each.in_sync.size() < each.min_in_sync; });
  if (!refusing.empty()) {
    return have(refusing) + "fewer copies in sync than the " + std::to_string(catalog.cluster.min_in_sync) +
           " that a confirmation needs, so sends are refused: " + remedy_for(catalog, refusing);
  }
  const Partitions incomplete = partitions_that(
      catalog, [&](const PartitionInfo& each) { return !is_complete(each, catalog.cluster.replication_factor); });
  if (!incomplete.empty()) return incomplete_fault(catalog, incomplete);
  return std::nullopt;
}

std::optional<std::string> drain_obstacle(const CatalogSnapshot& catalog, const std::string& worker) {
  const Partitions held = partitions_that(catalog, [&](const auto& each) { return lists(each.replicas, worker); });
  const bool arriving = std::any_of(held.begin(), held.end(), [&](const PartitionInfo* each) {
    return !each->target.empty() && !move_obstacle(catalog, *each);
  });
  if (held.empty() || arriving) return std::nullopt;
  const std::string holds = "'" + worker + "' still holds " + counted(held.size(), "partition");
  const std::size_t factor = catalog.cluster.replication_factor;
  const std::size_t able = count_able(catalog);
  if (able < factor) {
    return holds + ": each is kept by " + counted(factor, "worker") + ", and only " + counted(able, "other") +
           " can take copies; start another worker, or " + keep_fewer();
  }
  Partitions leaderless;
  std::copy_if(held.begin(), held.end(), std::back_inserter(leaderless),
               [](const PartitionInfo* each) { return each->leader.empty(); });
  if (!leaderless.empty()) {
    return holds + "; " + have(leaderless) + "no leader to copy from: " + remedy_for(catalog, leaderless);
  }
  for (const WorkerInfo& other : catalog.workers) {
    if (other.alive || other.draining) continue;
    return holds + ", whose copies may go to '" + other.name + "', which is away: start it again, or drain it as well";
  }
  return std::nullopt;
}

std::optional<std::string> forget_obstacle(const CatalogSnapshot& catalog, const std::string& worker) {
  const WorkerInfo* known = find(catalog, worker);
  if (known == nullptr) return "metad knows no worker '" + worker + "'; see who is there with: dmq cluster members";
  if (known->alive) return "'" + worker + "' is alive; stop it first, and empty it before with: dmq cluster drain NAME";
  const Partitions held = partitions_that(catalog, [&](const auto& each) { return lists(each.replicas, worker); });
  if (held.empty()) return std::nullopt;
  return "'" + worker + "' still holds " + counted(held.size(), "partition") +
         "; let the others take its place first, with: dmq cluster drain " + worker + " --wait";
}

std::optional<std::string> move_obstacle(const CatalogSnapshot& catalog, const PartitionInfo& partition) {
  const std::string name = "partition " + std::to_string(partition.id.value);
  if (partition.leader.empty()) return name + " has no leader to copy from: " + remedy_for(catalog, {&partition});
  for (const std::string& worker : partition.target) {
    const WorkerInfo* known = find(catalog, worker);
    if (known != nullptr && known->alive && !known->fenced_by_operator) continue;
    return "'" + worker + "', where " + name + " is to go, is away or fenced: bring it back, or move " + name +
           " elsewhere";
  }
  return std::nullopt;
}

}  // namespace dmq::cli
