// The controller's state: each change to it with its way back, the placement of partitions, and what always holds.
#include <unordered_set>

#include "metad/controller_turn.hpp"
#include "protocol/invariant.hpp"
#include "protocol/partitioner.hpp"

namespace dmq {

void Controller::add_member(SessionId session, Member member) {
  members_[session] = std::move(member);
  undo_.push_back([this, session] { members_.erase(session); });
}

void Controller::remove_member(SessionId session) {
  const auto found = members_.find(session);
  undo_.push_back([this, session, before = found->second] { members_[session] = before; });
  members_.erase(found);
}

void Controller::put(Turn& turn, const QueueInfo& queue) {
  Partition& partition = partitions_[queue.partition.value];
  undo_.push_back([this, &partition, settled = partition.settled, name = queue.name] {
    partition.settled = settled;
    queues_.erase(name);
    --counters_.version.value;
  });
  partition.settled = true;
  queues_[queue.name] = queue;
  ++counters_.version.value;
  turn.changes.emplace_back(queue);
}

void Controller::put(Turn& turn, const QueueDeleted& deleted) {
  const auto found = queues_.find(deleted.name);
  undo_.push_back([this, before = found->second] {
    deleted_.pop_back();
    queues_[before.name] = before;
    --counters_.version.value;
  });
  queues_.erase(found);
  deleted_.push_back(deleted.id);
  ++counters_.version.value;
  turn.changes.emplace_back(deleted);
}

void Controller::put(Turn& turn, const PartitionInfo& partition) {
  PartitionInfo& info = partitions_[partition.id.value].info;
  undo_.push_back([this, &info, before = info] {
    info = before;
    --counters_.version.value;
  });
  info = partition;
  ++counters_.version.value;
  turn.changes.emplace_back(partition);
}

void Controller::put(Turn& turn, const WorkerInfo& worker) {
  const auto found = workers_.find(worker.name);
  undo_.push_back(
      [this, name = worker.name, before = found == workers_.end() ? std::optional<WorkerInfo>() : found->second] {
        if (before) {
          workers_[name] = *before;
        } else {
          workers_.erase(name);
        }
        --counters_.version.value;
      });
  workers_[worker.name] = worker;
  ++counters_.version.value;
  turn.changes.emplace_back(worker);
}

// Rendezvous hashing: the worker whose name scores highest with the partition. A worker that comes or goes moves
// only the partitions that it wins or held. Empty when nobody is alive.
const std::string& Controller::best_worker(PartitionId partition) const {
  static const std::string kNobody;
  const std::string* best = &kNobody;
  std::uint64_t best_score = 0;
  for (const auto& [name, worker] : workers_) {
    if (!worker.alive) continue;
    const std::uint64_t score = stable_hash(name, partition.value);
    if (!best->empty() && score <= best_score) continue;
    best = &name;
    best_score = score;
  }
  return *best;
}

// Partitions without data go where rendezvous wants them; those that `renewed` leads get a new epoch in any case,
// since its new session must never serve an epoch of the old one.
void Controller::place_partitions(Turn& turn, const std::string& renewed) {
  for (const Partition& partition : partitions_) {
    PartitionInfo info = partition.info;
    if (!partition.settled || info.leader.empty()) {
      if (const std::string& best = best_worker(info.id); !best.empty()) info.leader = best;
    }
    if (info.leader.empty()) continue;
    if (info.leader == partition.info.leader && info.leader != renewed) continue;
    ++info.epoch.value;
    ++info.version.value;
    info.leader_session = workers_.at(info.leader).session;
    info.replicas = info.in_sync = {info.leader};
    put(turn, info);
  }
}

void Controller::check_invariants() const {
  std::unordered_set<QueueId> ids(deleted_.begin(), deleted_.end());
  check_invariant(ids.size() == deleted_.size(), "C1: a queue is deleted once");
  for (const auto& [name, queue] : queues_) {
    check_invariant(queue.id.value != 0 && queue.id <= counters_.last_queue, "C1: a queue id was given before");
    check_invariant(ids.insert(queue.id).second, "C1: a queue id names one queue");
    check_invariant(queue.partition == partition_of(name, counters_.partitions), "a queue lives where its name hashes");
    check_invariant(partitions_[queue.partition.value].settled, "C3: a queue settles its partition");
  }
  for (std::size_t i = 0; i < partitions_.size(); ++i) {
    const PartitionInfo& info = partitions_[i].info;
    check_invariant(info.id.value == i, "a partition stands at its id");
    check_invariant(info.leader.empty() == (info.epoch.value == 0), "C2: a leader has an epoch");
    check_invariant(info.leader.empty() || workers_.contains(info.leader), "a leader is a known worker");
  }
  for (const auto& [session, member] : members_) {
    check_invariant(session.value != 0 && session <= counters_.last_session, "C1: a session was given before");
    if (member.role != RegisterMember::Role::kWorker) continue;
    const WorkerInfo& worker = workers_.at(member.name);
    check_invariant(worker.alive && worker.session == session, "C4: a member holds its worker's latest session");
  }
}

}  // namespace dmq
