// Who is there: registration, heartbeats, fences, and what they mean for the partitions (rules 1 and 2).
#include <algorithm>

#include "metad/controller_turn.hpp"
#include "metad/in_sync.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

Result<void> check_member(const RegisterMember& member) {
  if (member.name.empty() || member.name.size() > kQueueNameBytesMax || !is_clean_utf8(member.name)) {
    return fail(Errc::kInvalidArgument, "a member's name is UTF-8 text of 1 to 200 bytes without control characters");
  }
  if (member.role == RegisterMember::Role::kWorker && member.endpoint.empty()) {
    return fail(Errc::kInvalidArgument, "worker '" + member.name + "' names no endpoint to connect to");
  }
  return {};
}

Error unknown_worker(const std::string& name) {
  return {Errc::kInvalidArgument, "metad knows no worker '" + name + "'"};
}

// A store that says so, or another one under a known name.
bool is_unclean(const RegisterMember& member, const WorkerInfo& known) {
  return !member.clean || (!known.store_id.empty() && member.store_id != known.store_id);
}

}  // namespace

// Rule 1: the old session is fenced, an unclean store is not eligible, then there is a new session. All of it is one
// transaction, so a worker whose copy is the only one is elected anew in its new session with one new epoch.
MetadReplyBody Controller::handle(const RegisterMember& member, Turn& turn) {
  if (auto good = check_member(member); !good) return good.error();
  const bool is_worker = member.role == RegisterMember::Role::kWorker;
  const WorkerInfo* known = is_worker ? find_worker(member.name) : nullptr;
  if (members_.size() >= kMembersMax || (is_worker && known == nullptr && workers_.size() >= kMembersMax)) {
    return Error{Errc::kUnavailable, "metad knows as many members as it can, 10,000"};
  }
  const SessionId session = begin_session(member);
  if (is_worker) {
    const bool unclean = known != nullptr && is_unclean(member, *known);
    const bool draining = known != nullptr && known->draining;
    const bool fenced = known != nullptr && known->fenced_by_operator;
    put(turn, WorkerInfo{member.name, member.endpoint, session, true, member.sync, member.zone, member.log_endpoint,
                         member.peer_endpoint, member.store_id, draining, fenced});
    review_partitions(turn, {member.name}, unclean);
    if (!member.clean) mark_all_unclean(turn, member.name);
  }
  return Registered{session,
                    settings_.feed_endpoint,
                    static_cast<std::uint32_t>(settings_.heartbeat.value),
                    settings_.missed_heartbeats,
                    counters_.generation,
                    counters_.version};
}

// A store that its worker does not trust has all of its copies compared with those of others before they count.
void Controller::mark_all_unclean(Turn& turn, const std::string& worker) {
  for (const Partition& partition : partitions_) {
    if (partition.at_will() || !lists(partition.info.replicas, worker)) continue;
    PartitionInfo info = partition.info;
    mark_unclean(info, worker);
    revise(turn, std::move(info));
  }
}

// A name has one session of a role: whoever held it before is fenced by this one.
SessionId Controller::begin_session(const RegisterMember& member) {
  const auto old = std::find_if(members_.begin(), members_.end(), [&](const auto& entry) {
    return entry.second.name == member.name && entry.second.role == member.role;
  });
  if (old != members_.end()) remove_member(old->first);
  undo_.emplace_back([this, before = counters_.last_session] { counters_.last_session = before; });
  const SessionId session = counters_.last_session = SessionId{counters_.last_session.value + 1};
  add_member(session, {member.name, member.role, listened_ms_});
  return session;
}

MetadReplyBody Controller::handle(const MemberHeartbeat& heartbeat, Turn&) {
  const auto found = members_.find(heartbeat.session);
  if (found == members_.end()) return Error{Errc::kUnavailable, "unknown session; register again"};
  found->second.heard = listened_ms_;
  return Done{};
}

// It gives its leaderships away and then its replicas, as far as other workers can take them (controller_moves.cpp).
MetadReplyBody Controller::handle(const DrainWorker& drain, Turn& turn) {
  const WorkerInfo* known = find_worker(drain.name);
  if (known == nullptr) return unknown_worker(drain.name);
  if (known->draining != drain.on) {
    WorkerInfo worker = *known;
    worker.draining = drain.on;
    put(turn, worker);
    review_partitions(turn, {}, false);
  }
  return load_of(drain.name);
}

// A fenced worker keeps its session and may follow, but is neither in sync nor leader until the fence is taken away.
MetadReplyBody Controller::handle(const FenceWorker& fence, Turn& turn) {
  const WorkerInfo* known = find_worker(fence.name);
  if (known == nullptr) return unknown_worker(fence.name);
  if (known->fenced_by_operator != fence.on) {
    WorkerInfo worker = *known;
    worker.fenced_by_operator = fence.on;
    put(turn, worker);
    review_partitions(turn, fence.on ? std::vector<std::string>{fence.name} : std::vector<std::string>{}, false);
  }
  return load_of(fence.name);
}

// Who holds nothing and comes back is a new worker: none of what is in its store counts.
MetadReplyBody Controller::handle(const ForgetWorker& forget, Turn& turn) {
  const WorkerInfo* known = find_worker(forget.name);
  WorkerForgotten forgotten{forget.name};
  if (known == nullptr) return forgotten;  // asked again, as the first answer was lost
  if (known->alive) return Error{Errc::kUnavailable, "worker '" + forget.name + "' is alive"};
  if (const auto holds = load_of(forget.name).holds; holds != 0) {
    return Error{Errc::kUnavailable,
                 "worker '" + forget.name + "' holds " + std::to_string(holds) + " partitions; drain it first"};
  }
  put(turn, forgotten);
  return forgotten;
}

WorkerLoad Controller::load_of(const std::string& worker) const {
  WorkerLoad load;
  for (const Partition& partition : partitions_) {
    load.leads += partition.info.leader == worker ? 1 : 0;
    load.holds += lists(partition.info.replicas, worker) ? 1 : 0;
  }
  return load;
}

// Rule 11: a leader that is cut off is replaced once it missed so many heartbeats; its own lease, counted from when it
// sent the last one that was answered, is over by then.
void Controller::expire_members(Turn& turn) {
  const std::int64_t oldest = listened_ms_ - settings_.missed_heartbeats * settings_.heartbeat.value;
  std::vector<SessionId> silent;
  for (const auto& [session, member] : members_) {
    if (member.heard < oldest) silent.push_back(session);
  }
  std::vector<std::string> gone;
  for (const SessionId session : silent) {
    const Member member = members_.at(session);
    remove_member(session);
    if (member.role != RegisterMember::Role::kWorker) continue;
    WorkerInfo worker = *find_worker(member.name);
    worker.alive = false;
    put(turn, worker);
    gone.push_back(member.name);
  }
  if (!gone.empty()) review_partitions(turn, gone, false);
}

// After the lot of workers changed: those that are `gone` leave the in-sync sets, for good when what they have is not
// what was in sync; who leads no more is replaced; what holds nothing is placed anew.
void Controller::review_partitions(Turn& turn, const std::vector<std::string>& gone, bool unclean) {
  const Candidates candidates = placeable();
  for (const Partition& partition : partitions_) {
    PartitionInfo info = partition.info;
    leave_in_sync(info, gone);
    for (const std::string& name : gone) {
      if (unclean) forget_copy(info, name);
    }
    if (partition.at_will()) {
      place(info, candidates);
    } else if (!leads(info)) {
      elect(info);
    }
    revise(turn, std::move(info));
  }
}

}  // namespace dmq
