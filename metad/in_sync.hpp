// Who of a partition's replicas counts: rules 2 and 8 of replication as operations on the partition's entry.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "protocol/catalog.hpp"

namespace dmq {

// Why this is safe: nothing is confirmed before it is on all of the in-sync set, nor while that is smaller than
// min_in_sync. Whoever leaves the set has all that was confirmed until then; while too few are left nothing more is,
// so those that left stay eligible to lead; once there are enough again, they may miss something.
//
// None of these changes the version, and only set_leader the epoch.

// The in-sync set becomes those of `members` that are replicas, in their order.
void set_in_sync(PartitionInfo& partition, const std::vector<std::string>& members);
void leave_in_sync(PartitionInfo& partition, const std::vector<std::string>& gone);
// The worker's copy can not be counted on: neither in sync nor eligible.
void forget_copy(PartitionInfo& partition, std::string_view worker);
// Nor can it come in sync until it was repaired (rule 13).
void mark_unclean(PartitionInfo& partition, const std::string& worker);
// Who is no replica any more is not in sync either.
void set_replicas(PartitionInfo& partition, std::vector<std::string> replicas);
// Another leader, or the same in another session, leads in a new epoch, and is in sync with itself. Empty: nobody.
void set_leader(PartitionInfo& partition, const std::string& worker, SessionId session);

bool same_members(const std::vector<std::string>& a, const std::vector<std::string>& b);
bool covers(const std::vector<std::string>& all, const std::vector<std::string>& some);

}  // namespace dmq
