// The leader's half of the replica core: what is committed, and who is in sync.
#include <algorithm>

#include "protocol/invariant.hpp"
#include "storage/replica.hpp"

namespace dmq {

// Rule 3.
void Replica::lead(TimeMs now) {
  role_ = Role::kLeading;
  start_ = end_;
  epochs_.add(set_.epoch, end_);
  publish_due_ = proposal_due_ = due_ = now;
  for (const std::string& name : set_.replicas) {
    if (name != self_) followers_[name].heard = followers_[name].caught_up = now;
  }
}

Lsn Replica::append(std::uint32_t count) {
  check_invariant(leads(), "only a leader appends");
  const Lsn first = end_;
  end_.value += count;
  return first;
}

PeerSend Replica::publish(Lsn first, std::uint32_t count, TimeMs now) {
  publish_due_ = now + kTimes.heartbeat;
  return {{}, message(AppendRecords{first, count, epochs_.at(Lsn{first.value - 1}), commit_, trim_})};
}

void Replica::take(const PeerMessage& message, const AckRecords& ack, TimeMs now, ReplicaEffects& out) {
  if (!leads() || message.epoch != set_.epoch) return;
  mark(message.sender, message.session, ack.end, now, out);
}

// Rule 6. The follower's log and ours are equal up to its end when its last term is one of ours and ends no earlier.
void Replica::take(const PeerMessage& message, const FetchRecords& fetch, TimeMs now, ReplicaEffects& out) {
  if (!leads() || message.epoch != set_.epoch || !is_replica(message.sender) || message.sender == self_) return;
  const auto [epoch, end] = epochs_.end_of(fetch.last_epoch, end_);
  if (fetch.end.value > 1 && (epoch < fetch.last_epoch || end < fetch.end)) {
    const Lsn to = epoch.value == 0 ? Lsn{1} : end;
    PeerSend answer{message.sender, this->message(TruncateRecords{fetch.nonce, epoch, to})};
    answer.message.session = message.session;
    return out.sends.push_back(std::move(answer));
  }
  // A copy that is being made anew lacks what its end says, also when metad does not know of it.
  mark(message.sender, message.session, fetch.resume.value == 0 ? fetch.end : Lsn{1}, now, out);
  out.fetches.push_back({message.sender, message.session, fetch});
}

void Replica::mark(const std::string& name, SessionId session, Lsn end, TimeMs now, ReplicaEffects& out) {
  const auto found = followers_.find(name);
  if (found == followers_.end() && (!is_replica(name) || name == self_)) return;
  Follower& follower = found == followers_.end() ? followers_[name] : found->second;
  if (session < follower.session) return;
  if (session > follower.session) {
    follower.session = session;
    follower.match = Lsn{1};
    follower.goal.reset();
  }
  follower.seen = true;
  follower.heard = now;
  follower.match = std::max(follower.match, std::min(end, end_));
  if (follower.goal && follower.match >= *follower.goal) {
    follower.caught_up = follower.goal_at;
    follower.goal.reset();
  }
  if (!follower.goal) {
    follower.goal = end_;
    follower.goal_at = now;
    if (follower.match >= end_) follower.caught_up = now;
  }
  advance();
  // At once: under load it is level with the commit point for a moment only.
  if (!proposed_ && can_join(name, follower, now)) propose(now, out);
}

bool Replica::can_join(const std::string& name, const Follower& follower, TimeMs now) const {
  return !is_in_sync(name) && is_replica(name) && !lists(set_.unclean, name) && follower.seen &&
         now - follower.heard <= kTimes.silence &&
         follower.match >= std::max({commit_, start_, trim_});  // behind `trim` its effects alone tell of a record
}

// Rule 7.
void Replica::advance() {
  // Control records that this replica wrote while it was alone are nowhere but in their effects.
  commit_ = std::max(commit_, std::min(trim_, on_disk_));
  if (set_.in_sync.size() < set_.min_in_sync) return;
  Lsn least = on_disk_;
  const auto count = [&](const std::string& name) {
    if (name == self_) return;
    const auto found = followers_.find(name);
    least = std::min(least, found == followers_.end() || !found->second.seen ? Lsn{1} : found->second.match);
  };
  for (const std::string& name : set_.in_sync) count(name);
  if (proposed_) {
    for (const InSyncMember& member : proposed_->in_sync) count(member.name);
  }
  commit_ = std::max(commit_, least);
}

Lsn Replica::everyones_end() const {
  Lsn least = on_disk_;
  for (const std::string& name : set_.replicas) {
    if (name == self_) continue;
    const auto found = followers_.find(name);
    least = std::min(least, found == followers_.end() || !found->second.seen ? Lsn{1} : found->second.match);
  }
  return least;
}

// Rule 8. The same proposal again and again, until metad's answer, or what it says to all, has a newer version.
void Replica::propose(TimeMs now, ReplicaEffects& out) {
  if (proposed_) {
    if (now >= proposal_due_) send_proposal(now, out);
    return;
  }
  std::vector<InSyncMember> members = wanted(now);
  const bool same = members.size() == set_.in_sync.size() &&
                    std::all_of(members.begin(), members.end(), [&](const auto& m) { return is_in_sync(m.name); });
  if (same) return;
  proposed_ = AlterInSync{session_, id_, set_.epoch, set_.version, std::move(members)};
  send_proposal(now, out);
}

void Replica::send_proposal(TimeMs now, ReplicaEffects& out) {
  proposal_due_ = now + kTimes.retry;
  out.proposals.push_back(*proposed_);
}

std::vector<InSyncMember> Replica::wanted(TimeMs now) const {
  std::vector<InSyncMember> members{{self_, session_}};
  for (const auto& [name, follower] : followers_) {
    const bool silent = now - follower.heard > kTimes.silence;
    const bool lags = now - follower.caught_up > kTimes.lag;
    const bool stays = is_in_sync(name) && !silent && !lags;
    if (stays || can_join(name, follower, now)) members.push_back({name, follower.session});
  }
  return members;
}

}  // namespace dmq
