// What both roles share, and the follower's half of the replica core.
#include "storage/replica.hpp"

#include <algorithm>

#include "protocol/invariant.hpp"

namespace dmq {
namespace {

constexpr DurationMs kPartPatience{1000};  // for a snapshot's next part: those of other partitions are on the way too

}  // namespace

void Replica::restore(EpochTable epochs, Lsn end, Lsn commit) {
  epochs_ = std::move(epochs);
  end_ = on_disk_ = end;
  commit_ = commit;
}

// What was trimmed was committed.
void Replica::trimmed(Lsn trim) {
  trim_ = std::max(trim_, trim);
  commit_ = std::max(commit_, std::min(trim_, on_disk_));
}

bool Replica::follow(std::uint64_t cluster, const PartitionInfo& set, SessionId session, TimeMs now) {
  const bool renewed = session != session_;
  // An answer to a proposal may be ahead of the catalog's copy here, also when a new session begins.
  if (set.version < set_.version || (!renewed && set.version == set_.version)) return false;
  const bool new_term = renewed || set.epoch != set_.epoch;
  const bool was_alone = alone();
  // A leader's damaged copy may be one that metad can do without now.
  if (set.in_sync.size() > set_.in_sync.size()) report_due_ = std::min(report_due_, now);
  session_ = session;
  cluster_ = cluster;
  set_ = set;
  proposed_.reset();  // rule 8: a proposal for an older version can no longer succeed
  const Role before = role_;
  if (new_term) {
    followers_.clear();
    epochs_.cut(end_);  // a term that was led and has no records is not one of the log's
    checked_ = false;
    outstanding_.reset();
    resume_ = first_resume();
    whole_ = {};
    told_ = Lsn{1};
    published_ = {};
    role_ = Role::kIdle;
    stepped_down_ = false;
  }
  // Who comes back to the set has to say anew what it has.
  std::erase_if(followers_, [&](const auto& follower) { return !is_replica(follower.first); });
  const bool mine = set.leader == self_ && set.leader_session == session;
  if (!is_replica(self_)) {
    role_ = Role::kIdle;
  } else if (mine && role_ != Role::kLeading && !stepped_down_ && !unusable_) {
    lead(now);
  } else if (!mine) {
    role_ = set.leader.empty() || set.leader == self_ ? Role::kIdle : Role::kFollowing;
    if (role_ == Role::kFollowing && (new_term || before == Role::kIdle)) fetch_due_ = due_ = now;
  }
  follow_repair(now);
  if (was_alone && !alone() && role_ == Role::kLeading) start_ = end_;  // what was written alone is promised already
  if (role_ == Role::kLeading) advance();
  return new_term || before != role_;
}

PeerMessage Replica::message(PeerBody body) const {
  return {cluster_, id_, set_.epoch, self_, session_, std::move(body)};
}

void Replica::on_disk(Lsn end, TimeMs now, ReplicaEffects& out) {
  check_invariant(end <= end_, "what is on disk was appended");
  on_disk_ = std::max(on_disk_, end);
  if (role_ == Role::kLeading) return advance();
  if (role_ != Role::kFollowing || !checked_) return;
  ack(out);
  if (end_ < leader_end_ && on_disk_ == end_ && !outstanding_) fetch(now, out);
}

void Replica::roll_back() {
  end_ = on_disk_;
  start_ = std::min(start_, end_);
  trim_ = std::min(trim_, end_);
  epochs_.cut(end_);
  if (leads()) epochs_.add(set_.epoch, end_);
}

void Replica::give_back(Lsn end) {
  end_ = std::max(end, on_disk_);
  epochs_.cut(end_);
  commit_ = std::min(commit_, end_);
}

void Replica::start_over() {
  end_ = on_disk_ = commit_ = trim_ = start_ = Lsn{1};
  epochs_ = {};
  checked_ = unusable_ = repaired_ = false;
  outstanding_.reset();
  resume_ = first_resume();
  whole_ = {};
}

void Replica::tick(TimeMs now, ReplicaEffects& out) {
  report(now, out);
  if (role_ == Role::kIdle) {
    if (stepped_down_) out.resignations.push_back({session_, id_, set_.epoch});
    due_ = now + (stepped_down_ ? kTimes.retry : DurationMs{1000});
    return;
  }
  if (role_ == Role::kLeading) {
    if (now >= publish_due_) out.sends.push_back(publish(end_, 0, now));
    propose(now, out);
    due_ = std::min(publish_due_, now + kTimes.heartbeat);
    return;
  }
  const bool late = outstanding_ && now >= outstanding_->until;
  if (late) outstanding_.reset();
  if (!outstanding_ && (late || now >= fetch_due_)) fetch(now, out);
  schedule();
}

void Replica::schedule() { due_ = outstanding_ ? outstanding_->until : fetch_due_; }

// --- following ------------------------------------------------------------------------------------------------------

bool Replica::is_from_leader(const PeerMessage& message) const {
  return role_ == Role::kFollowing && message.epoch == set_.epoch && message.sender == set_.leader;
}

bool Replica::is_answer(const PeerMessage& message, std::uint64_t nonce) const {
  return is_from_leader(message) && message.session == session_ && outstanding_ && outstanding_->nonce == nonce;
}

// Rule 6. A deposed leader first brings the tail that it published to its disk; until then it does not ask.
void Replica::fetch(TimeMs now, ReplicaEffects& out) {
  fetch_due_ = now + kTimes.retry;
  schedule();
  if (on_disk_ != end_ || (unclean() && !is_listed())) return;
  told_ = std::max(told_, end_);
  outstanding_ = Outstanding{++nonce_, end_, now + (resume_.value > 1 ? kPartPatience : kTimes.retry)};
  schedule();
  out.sends.push_back(
      {set_.leader, message(FetchRecords{nonce_, end_, epochs_.at(Lsn{end_.value - 1}), resume_, whole_})});
}

void Replica::ack(ReplicaEffects& out) {
  told_ = std::max(told_, on_disk_);
  out.sends.push_back({set_.leader, message(AckRecords{on_disk_})});
}

// Rule 5.
bool Replica::take(const PeerMessage& message, const AppendRecords& append, TimeMs now, ReplicaEffects& out) {
  if (!is_from_leader(message) || message.session != set_.leader_session) return false;
  const Lsn append_end{append.first.value + append.count};
  leader_end_ = std::max(leader_end_, append_end);
  if (published_.value != 0 && append.first > published_) out.missed += append.first.value - published_.value;
  published_ = std::max(published_, append_end);
  fetch_due_ = now + DurationMs{3 * kTimes.heartbeat.value};
  schedule();
  if (!checked_ || resume_.value != 0) {
    if (!outstanding_) fetch(now, out);
    return false;
  }
  if (append.first > end_ || (append_end > end_ && append.first < end_) ||
      (append.first == end_ && append.prev_epoch != epochs_.at(Lsn{end_.value - 1}))) {
    if (!outstanding_) fetch(now, out);  // a gap
    return false;
  }
  commit_ = std::max(commit_, std::min(append.commit, end_));
  trim_ = std::max(trim_, append.trim);
  if (append_end <= end_) {
    ack(out);  // told before; the ACK may have been lost
    return false;
  }
  epochs_.add(set_.epoch, append.first);
  end_ = append_end;
  commit_ = std::max(commit_, std::min(append.commit, end_));
  return true;
}

bool Replica::take(const PeerMessage& message, const FetchedRecords& fetched, TimeMs now, ReplicaEffects& out) {
  if (!is_answer(message, fetched.nonce)) return false;
  outstanding_.reset();
  leader_end_ = std::max(leader_end_, fetched.leader_end);
  if (fetched.first != end_ || fetched.end < end_ || fetched.prev_epoch != epochs_.at(Lsn{end_.value - 1}))
    return false;
  checked_ = true;
  for (const EpochStart& start : fetched.epochs) epochs_.add(start.epoch, start.first);
  end_ = fetched.end;
  commit_ = std::max(commit_, std::min(fetched.commit, end_));
  trim_ = std::max(trim_, fetched.trim);
  fetch_due_ = due_ = now + DurationMs{3 * kTimes.heartbeat.value};
  if (fetched.end > fetched.first) return true;
  if (on_disk_ == end_) ack(out);
  return false;
}

// Rule 6: to the smaller of the leader's end of that term and our own, never to our own commit point.
Replica::Truncation Replica::take(const PeerMessage& message, const TruncateRecords& truncate, TimeMs now) {
  if (!is_answer(message, truncate.nonce) || checked_) return Truncation::kNone;
  outstanding_.reset();
  fetch_due_ = due_ = now;
  const Lsn own = truncate.epoch.value == 0 ? Lsn{1} : epochs_.end_of(truncate.epoch, end_).end;
  const Lsn to = std::min({own, truncate.end, end_});
  if (to == end_) return Truncation::kNone;
  if (to < commit_) return Truncation::kDiverged;  // I3
  epochs_.cut(to);
  end_ = on_disk_ = to;
  told_ = std::min(told_, to);  // the leader does not count on what it has cut off
  return Truncation::kCut;
}

// A snapshot takes the place of what is here. That may be all that is committed by now, where a fetch was late and the
// records that it asks for came and were trimmed meanwhile. A copy that cannot be used as it is may be ahead of its
// leader, who has all that is committed but cannot know it while too few are in sync; the rest is fetched again.
bool Replica::take(const PeerMessage& message, const SnapshotRecords& part, TimeMs now) {
  if (!is_answer(message, part.nonce)) return false;
  const bool late = outstanding_->end != end_;
  outstanding_.reset();
  // A leader may have to begin anew, and then parts of the one snapshot do not go with parts of the other.
  if (part.stamp != stamp_) resume_ = first_resume();
  const bool follows = part.first.value == 1 || part.first == resume_;
  const bool goes_on = part.end > part.first || part.end == part.stamp;
  const Lsn kept = unusable_ || unclean() ? Lsn{1} : end_;  // I3
  const bool good = !late && follows && goes_on && part.end <= part.stamp && part.stamp >= kept;
  fetch_due_ = due_ = good || !follows ? now : now + kTimes.retry;
  return good;
}

void Replica::snapshot_taken(const SnapshotRecords& part, TimeMs now) {
  fetch_due_ = due_ = now;
  resume_ = part.end;
  whole_ = {};
  stamp_ = part.stamp;
  if (part.end != part.stamp) return;
  resume_ = {};
  checked_ = true;
  unusable_ = false;
  if (unclean_) repaired_ = true;
  doubtful_ = false;
  report_due_ = now;
  epochs_ = EpochTable(part.epochs);
  end_ = commit_ = part.stamp;
  on_disk_ = std::min(on_disk_, Lsn{end_.value - 1});  // until the turn is on the disk
}

// --- rule 13 ---------------------------------------------------------------------------------------------------------

void Replica::damaged(TimeMs now) {
  unclean_ = true;
  repaired_ = false;
  report_due_ = now;
  begin_repair(now);
}

void Replica::rebuild() {
  unusable_ = true;
  repaired_ = false;
  end_ = std::min(end_, on_disk_);
  commit_ = std::min(commit_, end_);
  epochs_.cut(end_);
  resume_ = Lsn{1};
  whole_ = {};
}

void Replica::fetch_whole(Lsn lsn, TimeMs now) {
  whole_ = lsn;
  fetch_due_ = due_ = now;
}

void Replica::follow_repair(TimeMs now) {
  if (is_listed()) {
    unclean_ = true;
    begin_repair(now);
  } else if (repaired_) {
    unclean_ = repaired_ = false;
  }
}

// Not while the copy counts as it is: until metad knows, or when it may have heard of an earlier repair.
void Replica::begin_repair(TimeMs now) {
  if (role_ != Role::kFollowing || !is_listed() || repaired_ || set_.version == repair_told_) return;
  if (resume_.value != 0) return;
  resume_ = Lsn{1};
  outstanding_.reset();
  fetch_due_ = due_ = now;
}

void Replica::judged(TimeMs now) {
  doubtful_ = false;
  if (leads()) report_due_ = now + kTimes.report;
}

bool Replica::has_report() const {
  if (!unclean_ || alone() || !is_replica(self_)) return false;
  // The leader goes by what it was told: it may count the copy only when all of that is here again.
  return repaired_ ? is_listed() && on_disk_ == end_ && end_ >= told_ : !is_listed() || set_.version == repair_told_;
}

void Replica::report(TimeMs now, ReplicaEffects& out) {
  if (!has_report() || now < report_due_) return;
  report_due_ = now + kTimes.retry;
  if (repaired_) repair_told_ = set_.version;
  out.reports.push_back({session_, id_, repaired_, set_.version});
}

}  // namespace dmq
