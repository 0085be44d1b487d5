// Who leads a partition and who is in sync with it (rules 2, 8 and 13).
#include <algorithm>

#include "metad/controller_turn.hpp"
#include "metad/in_sync.hpp"

namespace dmq {
namespace {

std::vector<std::string> names_of(const std::vector<InSyncMember>& members) {
  std::vector<std::string> names;
  for (const InSyncMember& member : members) names.push_back(member.name);
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text;
}

bool has_twice(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return std::adjacent_find(names.begin(), names.end()) != names.end();
}

Error loss(const PartitionInfo& info, const std::string& worker) {
  std::vector<std::string> complete = info.in_sync;
  complete.insert(complete.end(), info.eligible.begin(), info.eligible.end());
  const std::string whose = complete.empty() ? "no worker is known to have everything, so what was lost cannot be told"
                                             : "what of it only " + listed(complete) + " has would be lost for good";
  return {Errc::kDenied, "worker '" + worker + "' is not known to have all confirmed messages of partition " +
                             std::to_string(info.id.value) + ": " + whose +
                             ". Wait for a complete copy to come back, or repeat this with accept_loss"};
}

}  // namespace

// Rule 8. A proposal that can never be good is an error; one that came too late changes nothing, and the answer shows
// it. One whose joiner was fenced meanwhile raises the version alone: a duplicate of it, still under way, could succeed
// once the joiner is back, when the leader no longer waits for that joiner's copy.
MetadReplyBody Controller::handle(const AlterInSync& alter, Turn& turn) {
  const Partition& partition = partitions_[alter.partition.value];
  const std::vector<std::string> names = names_of(alter.in_sync);
  if (has_twice(names)) return Error{Errc::kInvalidArgument, "a proposed in-sync set names a worker twice"};
  PartitionInfo info = partition.info;
  if (info.leader.empty() || info.leader_session != alter.session || info.epoch != alter.epoch ||
      info.version != alter.version) {
    return info;
  }
  if (!lists(names, info.leader)) {
    return Error{Errc::kInvalidArgument, "a leader proposes an in-sync set without itself; it should resign instead"};
  }
  if (!may_alter(info, alter)) {
    ++info.version.value;
    put(turn, info);
    return partition.info;
  }
  set_in_sync(info, names);
  finish_move(info);
  revise(turn, std::move(info));
  return partition.info;
}

// Who joins is a replica, unfenced, and in the session in which the leader saw it: one that restarted since may have
// lost what it acknowledged.
bool Controller::may_alter(const PartitionInfo& info, const AlterInSync& alter) const {
  return std::all_of(alter.in_sync.begin(), alter.in_sync.end(), [&](const InSyncMember& member) {
    if (lists(info.in_sync, member.name)) return true;
    if (lists(info.unclean, member.name)) return false;
    return lists(info.replicas, member.name) && unfenced(member.name) &&
           find_worker(member.name)->session == member.session;
  });
}

// The new epoch matters also when nobody else is in sync: what the leader published and could not commit may be with
// followers, and only a new term can use those LSNs for something else.
MetadReplyBody Controller::handle(const ResignLeader& resign, Turn& turn) {
  Partition& partition = partitions_[resign.partition.value];
  PartitionInfo info = partition.info;
  if (info.leader.empty() || info.leader_session != resign.session || info.epoch != resign.epoch) return info;
  std::vector<std::string> others = info.in_sync;
  std::erase(others, info.leader);
  if (const std::string* next = first_able(info, others)) {
    set_leader(info, *next, find_worker(*next)->session);
  } else {
    ++info.epoch.value;
  }
  revise(turn, std::move(info));
  partition.better_since = listened_ms_ + kResignPause.value;
  return partition.info;
}

// Rule 13. What is damaged stays as it was while it is the only complete copy: what of it is good is served.
MetadReplyBody Controller::handle(const ReportUnclean& report, Turn& turn) {
  const Partition& partition = partitions_[report.partition.value];
  const auto member = members_.find(report.session);
  if (member == members_.end()) return Error{Errc::kUnavailable, "unknown session; register again"};
  const std::string& name = member->second.name;
  PartitionInfo info = partition.info;
  if (report.repaired) {
    if (report.version == info.version) std::erase(info.unclean, name);
  } else if (report.version != info.version) {
    // It may have been on its way since before a repair.
    return Error{Errc::kUnavailable,
                 "the partition has changed since; say it again of version " + std::to_string(info.version.value)};
  } else if (lists(info.unclean, name)) {
    ++info.version.value;  // a word of its repair that is still under way is not of this damage
    put(turn, info);
  } else if (!partition.at_will() && lists(info.replicas, name) && can_do_without(info, name)) {
    mark_unclean(info, name);
    if (info.leader == name) elect(info);
  }
  revise(turn, std::move(info));
  return partition.info;
}

bool Controller::can_do_without(const PartitionInfo& info, const std::string& worker) const {
  if (info.leader == worker) {
    std::vector<std::string> others = info.in_sync;
    others.insert(others.end(), info.eligible.begin(), info.eligible.end());
    std::erase(others, worker);
    return first_able(info, others) != nullptr;
  }
  return !lists(info.eligible, worker) || info.eligible.size() + info.in_sync.size() > 1;
}

// Rule 2: an operator may force a leader, and is told what can be lost.
MetadReplyBody Controller::handle(const ForceLeader& force, Turn& turn) {
  const Partition& partition = partitions_[force.partition.value];
  PartitionInfo info = partition.info;
  if (!lists(info.replicas, force.worker)) {
    return Error{Errc::kInvalidArgument, "worker '" + force.worker + "' is no replica of partition " +
                                             std::to_string(info.id.value) + "; those are " + listed(info.replicas)};
  }
  if (!unfenced(force.worker)) {
    return Error{Errc::kUnavailable, "worker '" + force.worker + "' is away or fenced, so it cannot lead"};
  }
  const bool complete = lists(info.in_sync, force.worker) || lists(info.eligible, force.worker);
  if (!complete && !force.accept_loss) return loss(info, force.worker);
  if (!complete) {
    info.in_sync.clear();
    info.eligible.clear();
  }
  set_leader(info, force.worker, find_worker(force.worker)->session);
  revise(turn, std::move(info));
  return partition.info;
}

bool Controller::leads(const PartitionInfo& info) const {
  return unfenced(info.leader) && find_worker(info.leader)->session == info.leader_session &&
         lists(info.in_sync, info.leader);
}

// The first by the order of the replicas that can lead, one that is not being drained if possible; null: nobody.
const std::string* Controller::first_able(const PartitionInfo& info, const std::vector<std::string>& among) const {
  const std::string* drained = nullptr;
  for (const std::string& name : info.replicas) {
    if (!lists(among, name) || !unfenced(name)) continue;
    if (!find_worker(name)->draining) return &name;
    if (drained == nullptr) drained = &name;
  }
  return drained;
}

// Rule 2: of the in-sync set, else of the eligible ones, else nobody.
void Controller::elect(PartitionInfo& info) const {
  const std::string* next = first_able(info, info.in_sync);
  if (next == nullptr) next = first_able(info, info.eligible);
  if (next == nullptr) return set_leader(info, "", SessionId{});
  set_leader(info, *next, find_worker(*next)->session);
}

// Who should lead instead of the leader, and could at once; null: nobody.
const std::string* Controller::better_leader(const PartitionInfo& info) const {
  if (info.leader.empty()) return nullptr;
  if (find_worker(info.leader)->draining) {
    const std::string* next = first_able(info, info.in_sync);
    return next == nullptr || find_worker(*next)->draining ? nullptr : next;
  }
  const std::string& preferred = info.replicas.front();
  if (!info.target.empty() || preferred == info.leader || !lists(info.in_sync, preferred)) return nullptr;
  return find_worker(preferred)->draining ? nullptr : &preferred;
}

// A few at once, so that not all clients of a worker meet a new leader in one moment.
void Controller::even_out_leaders(Turn& turn) {
  std::size_t handed_over = 0;
  for (Partition& partition : partitions_) {
    const std::string* better = better_leader(partition.info);
    if (better == nullptr) {
      partition.better_since.reset();
      continue;
    }
    if (!partition.better_since) partition.better_since = listened_ms_;
    const bool drained = find_worker(partition.info.leader)->draining;
    if (!drained && listened_ms_ - *partition.better_since < settings_.handover_after.value) continue;
    if (handed_over == kHandoversPerTick) continue;
    ++handed_over;
    PartitionInfo info = partition.info;
    set_leader(info, *better, find_worker(*better)->session);
    revise(turn, std::move(info));
  }
}

}  // namespace dmq
