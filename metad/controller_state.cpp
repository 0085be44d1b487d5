// The controller's state: each change to it with its way back, and what always holds.
#include <unordered_set>

#include "metad/controller_turn.hpp"
#include "metad/in_sync.hpp"
#include "protocol/invariant.hpp"
#include "protocol/partitioner.hpp"
#include "protocol/parts.hpp"

namespace dmq {

void Controller::add_member(SessionId session, Member member) {
  members_[session] = std::move(member);
  undo_.emplace_back([this, session] { members_.erase(session); });
}

void Controller::remove_member(SessionId session) {
  const auto found = members_.find(session);
  undo_.emplace_back([this, session, before = found->second] { members_[session] = before; });
  members_.erase(found);
}

// What its parts hold is copied from now on, never given away; those that this is new to.
std::vector<PartitionId> Controller::settle(const QueueInfo& queue) {
  std::vector<PartitionId> fresh;
  for (std::uint16_t part = 0; part < queue.settings.partitions; ++part) {
    const PartitionId place = place_of_part(queue, part, counters_.partitions);
    if (!std::exchange(partitions_[place.value].settled, true)) fresh.push_back(place);
  }
  return fresh;
}

void Controller::put(Turn& turn, const QueueInfo& queue) {
  const auto known = queues_.find(queue.name);
  std::optional<QueueInfo> before;
  if (known != queues_.end()) before = known->second;
  undo_.emplace_back([this, fresh = settle(queue), name = queue.name, before = std::move(before)] {
    for (const PartitionId id : fresh) partitions_[id.value].settled = false;
    if (before) {
      queues_[name] = *before;
    } else {
      queues_.erase(name);
    }
    --counters_.version.value;
  });
  queues_[queue.name] = queue;
  ++counters_.version.value;
  turn.changes.emplace_back(queue);
}

void Controller::put(Turn& turn, const QueueDeleted& deleted) {
  const auto found = queues_.find(deleted.name);
  undo_.emplace_back([this, before = found->second] {
    deleted_.pop_back();
    queues_[before.name] = before;
    --counters_.version.value;
  });
  queues_.erase(found);
  deleted_.push_back(deleted.id);
  ++counters_.version.value;
  turn.changes.emplace_back(deleted);
}

// What holds between an entry and the next of the same partition.
void Controller::put(Turn& turn, const PartitionInfo& partition) {
  PartitionInfo& info = partitions_[partition.id.value].info;
  const bool same_term = partition.leader == info.leader && partition.leader_session == info.leader_session;
  check_invariant(partition.version > info.version, "C2: a change of a partition has a version");
  check_invariant(partition.epoch >= info.epoch, "C2: an epoch never falls");
  check_invariant(same_term || partition.epoch > info.epoch, "C2: an epoch has one leader");
  undo_.emplace_back([this, &info, before = info] {
    info = before;
    --counters_.version.value;
  });
  info = partition;
  ++counters_.version.value;
  turn.changes.emplace_back(partition);
}

void Controller::revise(Turn& turn, PartitionInfo info) {
  if (info == partitions_[info.id.value].info) return;
  ++info.version.value;
  put(turn, info);
}

void Controller::put(Turn& turn, const WorkerInfo& worker) {
  const auto found = workers_.find(worker.name);
  const bool was_lost = found != workers_.end() && !unfenced(worker.name);
  undo_.emplace_back(
      [this, name = worker.name, before = found == workers_.end() ? std::optional<Worker>() : found->second] {
        if (before) {
          workers_[name] = *before;
        } else {
          workers_.erase(name);
        }
        --counters_.version.value;
      });
  Worker& known = workers_[worker.name];
  known.info = worker;
  if (!was_lost && !unfenced(worker.name)) known.lost_since = listened_ms_;
  ++counters_.version.value;
  turn.changes.emplace_back(worker);
}

void Controller::put(Turn& turn, const WorkerForgotten& forgotten) {
  const auto found = workers_.find(forgotten.name);
  undo_.emplace_back([this, before = found->second] {
    workers_[before.info.name] = before;
    --counters_.version.value;
  });
  workers_.erase(found);
  ++counters_.version.value;
  turn.changes.emplace_back(forgotten);
}

void Controller::put(Turn& turn, const ClusterInfo& cluster) {
  undo_.emplace_back([this, before = cluster_] {
    cluster_ = before;
    --counters_.version.value;
  });
  cluster_ = cluster;
  ++counters_.version.value;
  turn.changes.emplace_back(cluster);
}

const WorkerInfo* Controller::find_worker(std::string_view name) const {
  const auto found = workers_.find(name);
  return found == workers_.end() ? nullptr : &found->second.info;
}

// Those that can be in sync and lead.
bool Controller::unfenced(std::string_view name) const {
  const WorkerInfo* worker = find_worker(name);
  return worker != nullptr && unfenced(*worker);
}

// --- invariants --------------------------------------------------------------------------------------------------

namespace {

// Is `some` a part of `all`, in its order?
bool is_part(const std::vector<std::string>& some, const std::vector<std::string>& all) {
  std::size_t at = 0;
  for (const std::string& name : all) at += at < some.size() && some[at] == name ? 1 : 0;
  return at == some.size();
}

bool has_duplicates(const std::vector<std::string>& names) {
  return std::unordered_set<std::string>(names.begin(), names.end()).size() != names.size();
}

}  // namespace

void Controller::check_invariants() const {
  std::unordered_set<QueueId> ids(deleted_.begin(), deleted_.end());
  check_invariant(ids.size() == deleted_.size(), "C1: a queue is deleted once");
  for (const auto& [name, queue] : queues_) {
    check_invariant(queue.id.value != 0 && queue.id <= counters_.last_queue, "C1: a queue id was given before");
    check_invariant(ids.insert(queue.id).second, "C1: a queue id names one queue");
    check_invariant(queue.partition == partition_of(name, counters_.partitions), "a queue lives where its name hashes");
    for (std::uint16_t part = 0; part < queue.settings.partitions; ++part) {
      const PartitionId place = place_of_part(queue, part, counters_.partitions);
      check_invariant(partitions_[place.value].settled, "C6: a queue settles its partitions");
    }
  }
  for (std::size_t i = 0; i < partitions_.size(); ++i) {
    check_invariant(partitions_[i].info.id.value == i, "a partition stands at its id");
    check_partition(partitions_[i]);
  }
  for (const auto& [session, member] : members_) {
    check_invariant(session.value != 0 && session <= counters_.last_session, "C1: a session was given before");
    if (member.role != RegisterMember::Role::kWorker) continue;
    const WorkerInfo& worker = *find_worker(member.name);
    check_invariant(worker.alive && worker.session == session, "C4: a member holds its worker's latest session");
  }
  for (const auto& [name, worker] : workers_) {
    check_invariant(!worker.info.alive || members_.contains(worker.info.session), "C4: who is alive is a member");
  }
}

void Controller::check_partition(const Partition& partition) const {
  const PartitionInfo& info = partition.info;
  check_invariant(info.leader.empty() == (info.leader_session.value == 0), "C3: a leader has a session");
  check_invariant(info.leader.empty() || leads(info), "C3: a leader is unfenced, in its session and in sync");
  check_invariant(info.leader.empty() || info.epoch.value != 0, "C2: a leader has an epoch");
  check_invariant(!info.leader.empty() || info.in_sync.empty(), "C3: one that is in sync can lead");
  check_invariant(!info.leader.empty() || first_able(info, info.eligible) == nullptr, "C3: one that is eligible leads");
  check_invariant(info.min_in_sync == cluster_.min_in_sync, "a partition has the cluster's minimum");
  check_invariant(info.replicas.size() <= kReplicasMax && !has_duplicates(info.replicas), "replicas are a bounded set");
  for (const std::string& name : info.replicas) check_invariant(find_worker(name) != nullptr, "replicas are workers");
  for (const std::string& name : info.in_sync) check_invariant(unfenced(name), "C5: who is in sync is unfenced");
  check_invariant(is_part(info.in_sync, info.replicas), "C5: the in-sync set is a part of the replicas");
  check_invariant(is_part(info.eligible, info.replicas), "C5: the eligible set is a part of the replicas");
  for (const std::string& name : info.eligible)
    check_invariant(!lists(info.in_sync, name), "C5: the sets are disjoint");
  check_invariant(info.eligible.empty() || info.in_sync.size() < info.min_in_sync, "C5: eligible only while too few");
  check_invariant(is_part(info.unclean, info.replicas), "C7: who is unclean is a replica");
  for (const std::string& name : info.unclean) {
    check_invariant(!lists(info.in_sync, name) && !lists(info.eligible, name), "C7: and its copy does not count");
  }
  check_invariant(covers(info.replicas, info.target) && !has_duplicates(info.target),
                  "a target is a part of the replicas");
  check_invariant(info.target.empty() || !partition.at_will(), "C6: only what holds data moves by copying");
}

}  // namespace dmq
