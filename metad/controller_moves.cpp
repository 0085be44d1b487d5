// Who holds a partition: placement of what is empty, moves of what is not, and how many replicas there are.
#include <algorithm>

#include "metad/controller_turn.hpp"
#include "metad/in_sync.hpp"
#include "metad/placement.hpp"

namespace dmq {
namespace {

bool can_replicate(const WorkerInfo& worker) { return !worker.log_endpoint.empty() && !worker.peer_endpoint.empty(); }

bool is_candidate(const std::vector<const WorkerInfo*>& candidates, std::string_view name) {
  return std::any_of(candidates.begin(), candidates.end(), [&](const WorkerInfo* each) { return each->name == name; });
}

Error no_copying(const std::string& worker) {
  return {Errc::kUnsupported, "worker '" + worker + "' offers no endpoints for replication"};
}

}  // namespace

// --- requests of operators -----------------------------------------------------------------------------------------

MetadReplyBody Controller::handle(const SetCluster& set, Turn& turn) {
  if (set.min_in_sync < 1 || set.min_in_sync > set.replication_factor ||
      set.replication_factor > kReplicationFactorMax) {
    return Error{Errc::kInvalidArgument,
                 "from 1 to 7 replicas are kept of a partition, and from 1 to all of them must be in sync"};
  }
  const ClusterInfo wanted{cluster_.id, set.replication_factor, set.min_in_sync};
  if (cluster_ == wanted) return cluster_;
  put(turn, wanted);
  const Candidates candidates = placeable();
  for (const Partition& partition : partitions_) {
    PartitionInfo info = partition.info;
    info.min_in_sync = set.min_in_sync;
    leave_in_sync(info, {});  // with fewer needed, nobody need be eligible
    if (partition.at_will()) place(info, candidates);
    revise(turn, std::move(info));
  }
  return cluster_;
}

MetadReplyBody Controller::handle(const MovePartition& move, Turn& turn) {
  const Partition& partition = partitions_[move.partition.value];
  PartitionInfo info = partition.info;
  if (!move.replicas.empty()) {
    if (auto good = check_destination(move.replicas); !good) return good.error();
  }
  info.pinned = !move.replicas.empty();
  if (partition.at_will()) {
    if (info.pinned) info.replicas = move.replicas;
    place(info, placeable());
  } else if (info.pinned) {
    if (info.leader.empty()) {
      return Error{Errc::kUnavailable, "nobody leads partition " + std::to_string(info.id.value) +
                                           ", so there is nothing to copy from; its data waits where it is"};
    }
    if (info.target.empty() && moves_under_way() >= kMovesMax) {
      return Error{Errc::kUnavailable, "8 partitions move already; try again when one has arrived"};
    }
    if (!begin_move(info, move.replicas)) {
      return Error{Errc::kUnsupported,
                   "the leader, '" + info.leader + "', or a worker to come offers no endpoints for " +
                       "replication, so partition " + std::to_string(info.id.value) + " cannot be copied"};
    }
    finish_move(info);
  }
  revise(turn, std::move(info));
  return partition.info;
}

Result<void> Controller::check_destination(const std::vector<std::string>& replicas) const {
  if (replicas.size() != cluster_.replication_factor) {
    return fail(Errc::kInvalidArgument, "the cluster keeps " + std::to_string(cluster_.replication_factor) +
                                            " replicas of each partition; name as many workers");
  }
  for (const std::string& name : replicas) {
    const WorkerInfo* worker = find_worker(name);
    if (worker == nullptr) return fail(Errc::kInvalidArgument, "metad knows no worker '" + name + "'");
    if (std::count(replicas.begin(), replicas.end(), name) > 1) {
      return fail(Errc::kInvalidArgument, "worker '" + name + "' is named twice");
    }
    if (!unfenced(name)) return fail(Errc::kUnavailable, "worker '" + name + "' is away or fenced");
    if (worker->draining) return fail(Errc::kInvalidArgument, "worker '" + name + "' is being drained");
    if (replicas.size() > 1 && !can_replicate(*worker)) return tl::unexpected<Error>(no_copying(name));
  }
  return {};
}

// --- partitions without data ---------------------------------------------------------------------------------------

// Those that can hold a partition from now on; only if all are being drained, those too.
Controller::Candidates Controller::placeable() const {
  Candidates all;
  for (const auto& [name, worker] : workers_) {
    if (unfenced(worker.info)) all.push_back(&worker.info);
  }
  Candidates out;
  std::copy_if(all.begin(), all.end(), std::back_inserter(out), [](const WorkerInfo* each) { return !each->draining; });
  return out.empty() ? all : out;
}

// In one step, since there is nothing to copy: the others follow the new leader and come in sync with it.
void Controller::place(PartitionInfo& info, const Candidates& candidates) const {
  const bool stays = info.pinned && std::all_of(info.replicas.begin(), info.replicas.end(),
                                                [&](const auto& name) { return is_candidate(candidates, name); });
  std::vector<std::string> wanted = info.replicas;
  if (!stays) {
    info.pinned = false;
    Candidates able;
    std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(able),
                 [](const WorkerInfo* each) { return can_replicate(*each); });
    const bool alone = cluster_.replication_factor == 1 || able.empty();
    wanted =
        alone ? choose_replicas(candidates, info.id, 1) : choose_replicas(able, info.id, cluster_.replication_factor);
  }
  if (wanted.empty()) return elect(info);
  info.target.clear();
  if (leads(info) && info.leader == wanted.front()) return set_replicas(info, std::move(wanted));
  info.in_sync.clear();
  info.eligible.clear();
  info.replicas = std::move(wanted);
  const std::string& leader = info.replicas.front();
  set_leader(info, leader, find_worker(leader)->session);
}

// --- partitions with data: copied, never dropped ---------------------------------------------------------------------

// Those that can be counted on to hold data: also who is away for a while.
Controller::Candidates Controller::lasting() const {
  Candidates out;
  for (const auto& [name, worker] : workers_) {
    const bool back_soon = listened_ms_ - worker.lost_since < settings_.replace_after.value;
    if (can_replicate(worker.info) && !worker.info.draining && (unfenced(worker.info) || back_soon)) {
      out.push_back(&worker.info);
    }
  }
  return out;
}

// Where the replicas should be. What an operator chose, and where a move leads, is left alone while it can be; nothing
// is given up without a replacement, unless fewer replicas are wanted.
std::vector<std::string> Controller::goal_of(const PartitionInfo& info, const Candidates& candidates) const {
  const std::vector<std::string>& now = info.target.empty() ? info.replicas : info.target;
  const std::size_t factor = cluster_.replication_factor;
  const bool fits = now.size() == factor && std::all_of(now.begin(), now.end(), [&](const std::string& name) {
                      return is_candidate(candidates, name);
                    });
  if (fits && (info.pinned || !info.target.empty())) return now;
  // Who is away keeps what it has for a while, but is given nothing.
  Candidates able;
  std::copy_if(candidates.begin(), candidates.end(), std::back_inserter(able),
               [&](const WorkerInfo* each) { return unfenced(*each) || lists(info.replicas, each->name); });
  std::vector<std::string> best = choose_replicas(able, info.id, factor);
  if (best.size() < std::min(factor, now.size()) || same_members(best, now)) return now;
  return best;
}

// False when it cannot begin now. The replicas are those of before and of after; who was only to come with an earlier
// move and has not arrived is left out.
bool Controller::begin_move(PartitionInfo& info, const std::vector<std::string>& goal) const {
  const auto stays = [&](const std::string& name) {
    return !lists(info.target, name) || lists(info.in_sync, name) || lists(info.eligible, name) || lists(goal, name);
  };
  std::vector<std::string> replicas;
  std::copy_if(info.replicas.begin(), info.replicas.end(), std::back_inserter(replicas), stays);
  for (const std::string& name : goal) {
    if (lists(replicas, name)) continue;
    if (!unfenced(name) || !can_replicate(*find_worker(name))) return false;
    if (info.leader.empty() || !can_replicate(*find_worker(info.leader))) return false;
    replicas.push_back(name);
  }
  if (replicas.size() > kReplicasMax) return false;
  const bool is_there = same_members(replicas, goal);
  set_replicas(info, is_there ? goal : std::move(replicas));
  info.target = is_there ? std::vector<std::string>{} : goal;
  return true;
}

// Once all of the target are in sync. They hold all that is confirmed, so one of them can lead at once and the others
// can be let go in the same step; but never to fewer in sync than are needed.
void Controller::finish_move(PartitionInfo& info) const {
  if (info.target.empty() || info.leader.empty() || !covers(info.in_sync, info.target)) return;
  const bool few = info.target.size() < info.min_in_sync;
  if (few && (info.target.size() < info.in_sync.size() || !covers(info.target, info.eligible))) return;
  set_replicas(info, std::exchange(info.target, {}));
  const std::string leader = *first_able(info, info.in_sync);
  set_leader(info, leader, find_worker(leader)->session);
}

// Those that wait for a worker that is away copy nothing, and hold up no others.
std::size_t Controller::moves_under_way() const {
  return static_cast<std::size_t>(std::count_if(partitions_.begin(), partitions_.end(), [this](const Partition& each) {
    const std::vector<std::string>& target = each.info.target;
    return !target.empty() &&
           std::all_of(target.begin(), target.end(), [this](const auto& to) { return unfenced(to); });
  }));
}

std::size_t Controller::moves_to_come() const {
  const Candidates candidates = lasting();
  return static_cast<std::size_t>(std::count_if(partitions_.begin(), partitions_.end(), [&](const Partition& each) {
    const PartitionInfo& info = each.info;
    return !each.at_will() && info.target.empty() && !same_members(goal_of(info, candidates), info.replicas);
  }));
}

// Some partitions a tick, in turns: starts what should move, sends elsewhere what cannot arrive, ends what has arrived.
// When all were looked at and nothing has changed, there is nothing to do.
void Controller::tend_moves(Turn& turn) {
  Candidates candidates = lasting();
  if (looked_.version != counters_.version || looked_.candidates != candidates)
    looked_ = {counters_.version, std::move(candidates), 0};
  std::size_t moves = moves_under_way();
  for (std::size_t i = 0; i < kPlacementsPerTick && looked_.partitions < partitions_.size(); ++i) {
    ++looked_.partitions;
    const Partition& partition = partitions_[next_placement_];
    next_placement_ = (next_placement_ + 1) % partitions_.size();
    if (partition.at_will() || partition.info.leader.empty()) continue;
    const bool moving = !partition.info.target.empty();
    const std::vector<std::string> goal = goal_of(partition.info, looked_.candidates);
    const bool elsewhere = !same_members(goal, moving ? partition.info.target : partition.info.replicas);
    if (!moving && (!elsewhere || moves >= kMovesMax)) continue;
    PartitionInfo info = partition.info;
    if (elsewhere && begin_move(info, goal)) {
      info.pinned = false;
      moves += moving ? 0 : 1;
    }
    finish_move(info);
    revise(turn, std::move(info));
  }
}

}  // namespace dmq
