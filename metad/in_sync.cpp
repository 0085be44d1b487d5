// See in_sync.hpp.
#include "metad/in_sync.hpp"

#include <algorithm>

namespace dmq {
namespace {

// Those of `names` for which `keep` holds.
template <class Keep>
std::vector<std::string> filtered(const std::vector<std::string>& names, Keep keep) {
  std::vector<std::string> out;
  std::copy_if(names.begin(), names.end(), std::back_inserter(out), keep);
  return out;
}

}  // namespace

void set_in_sync(PartitionInfo& partition, const std::vector<std::string>& members) {
  const std::vector<std::string> before = std::move(partition.in_sync);
  const std::vector<std::string> eligible = std::move(partition.eligible);
  partition.in_sync = filtered(partition.replicas, [&](const std::string& name) { return lists(members, name); });
  partition.eligible.clear();
  if (partition.in_sync.size() >= partition.min_in_sync) return;
  partition.eligible = filtered(partition.replicas, [&](const std::string& name) {
    return !lists(partition.in_sync, name) && (lists(before, name) || lists(eligible, name));
  });
}

void leave_in_sync(PartitionInfo& partition, const std::vector<std::string>& gone) {
  set_in_sync(partition, filtered(partition.in_sync, [&](const std::string& name) { return !lists(gone, name); }));
}

void forget_copy(PartitionInfo& partition, std::string_view worker) {
  leave_in_sync(partition, {std::string(worker)});
  std::erase(partition.eligible, worker);
}

void mark_unclean(PartitionInfo& partition, const std::string& worker) {
  forget_copy(partition, worker);
  partition.unclean = filtered(
      partition.replicas, [&](const std::string& name) { return name == worker || lists(partition.unclean, name); });
}

void set_replicas(PartitionInfo& partition, std::vector<std::string> replicas) {
  partition.replicas = std::move(replicas);
  partition.unclean =
      filtered(partition.replicas, [&](const std::string& name) { return lists(partition.unclean, name); });
  const std::vector<std::string> in_sync = partition.in_sync;
  set_in_sync(partition, in_sync);
}

void set_leader(PartitionInfo& partition, const std::string& worker, SessionId session) {
  if (partition.leader == worker && partition.leader_session == session) return;
  partition.leader = worker;
  partition.leader_session = session;
  ++partition.epoch.value;
  std::erase(partition.unclean, worker);  // an operator forced it
  if (worker.empty() || lists(partition.in_sync, worker)) return;
  std::vector<std::string> members = partition.in_sync;
  members.push_back(worker);
  set_in_sync(partition, members);
}

bool same_members(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  return a.size() == b.size() && covers(a, b);
}

bool covers(const std::vector<std::string>& all, const std::vector<std::string>& some) {
  return std::all_of(some.begin(), some.end(), [&](const std::string& name) { return lists(all, name); });
}

}  // namespace dmq
