// The replica core: one partition's place in replication, by the numbered rules of docs/architecture.md.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "protocol/metad_messages.hpp"
#include "protocol/replication.hpp"
#include "storage/epoch_table.hpp"

namespace dmq {

struct ReplicaTimes {
  DurationMs heartbeat{100};  // of a leader that has nothing to publish
  DurationMs silence{600};    // an in-sync follower that said nothing for so long is proposed for removal (rule 8)
  DurationMs lag{2000};       // so is one that did not reach in this time what was the log's end
  DurationMs retry{200};      // of a fetch, a proposal or a report without an answer
  DurationMs report{5000};    // of a leader's damage that metad knows of: it may have nobody else who could lead
};

struct PeerSend {
  std::string to;  // a worker's name; empty: publish
  PeerMessage message;
};
// The log's content answers this fetch; it is read outside the core.
struct FetchToServe {
  std::string to;
  SessionId session;
  FetchRecords fetch;
};

// What the caller must do. Sends are not urgent and may be lost. Appended to by several calls.
struct ReplicaEffects {
  std::vector<PeerSend> sends;
  std::vector<FetchToServe> fetches;
  std::vector<AlterInSync> proposals;
  std::vector<ResignLeader> resignations;
  std::vector<ReportUnclean> reports;
  std::uint64_t missed = 0;  // records that a leader published and that did not arrive here
};

// Knows no socket, disk, thread or clock. Not thread-safe. Counts records, never sees one: its caller appends them.
//
//            metad: leader = (me, my session)               metad: another leader
//   IDLE ------------------------------------> LEADING   IDLE -------------------> FOLLOWING (unchecked)
//    ^  another term, or not a replica any more |          ^                            | first answer to a fetch
//    '------------------------------------------'          '--------- another term ---- FOLLOWING (checked)
//
// I1  commit <= end on disk in all of ISR and of a proposal under way; it never falls but by a restart.
// I2  `end on disk` <= `end`, and a follower's ACK or fetch tells the former only (rule 6).
// I3  What is below `commit` is never cut off, but of a copy that counts for nothing until it is whole again (rule 13).
// I4  A damaged copy (rule 13) is repaired only while metad lists it as unclean, and reported as repaired only when it
//     has again all that its leader was told of.
class Replica {
 public:
  static constexpr ReplicaTimes kTimes{};
  enum class Role : std::uint8_t { kIdle, kLeading, kFollowing };

  Replica(PartitionId id, std::string self) : id_(id), self_(std::move(self)) {}

  // From the store, at start. `commit`: what is known to be committed, all that was applied.
  void restore(EpochTable epochs, Lsn end, Lsn commit);

  // What metad says; older versions are ignored. True: the role, the term or the session changed.
  bool follow(std::uint64_t cluster, const PartitionInfo& set, SessionId session, TimeMs now);

  Role role() const { return role_; }
  bool leads() const { return role_ == Role::kLeading; }
  // Nobody else needs the log: what is on the disk is committed.
  bool alone() const { return set_.replicas.size() == 1 && set_.replicas[0] == self_ && set_.min_in_sync <= 1; }
  // Without: nobody to hear from or to tell.
  bool needs_ticks() const { return !alone() || stepped_down_; }
  // Rule 9: too few in sync, refuse before appending.
  bool takes_appends() const { return leads() && set_.in_sync.size() >= set_.min_in_sync; }
  // Rules 3 and 10.
  bool delivers() const { return leads() && commit_ >= start_ && !doubtful(); }

  // A leader that could not write what it published leads no more in this term, and says so until there is another.
  void step_down() {
    role_ = Role::kIdle;
    stepped_down_ = true;
    due_ = {};
  }

  SessionId session() const { return session_; }
  Epoch epoch() const { return set_.epoch; }
  Lsn end() const { return end_; }
  Lsn end_on_disk() const { return on_disk_; }
  Lsn commit() const { return commit_; }
  const EpochTable& epochs() const { return epochs_; }
  const PartitionInfo& set() const { return set_; }

  // The leader appends `count` records; returns the first one's LSN. REQUIRES: leads().
  Lsn append(std::uint32_t count);
  // The records [first, first + count) were given to append() and are to be published; before or after their commit.
  PeerSend publish(Lsn first, std::uint32_t count, TimeMs now);
  // All below `end` is on disk. Leader: commit may grow. Follower: tells the leader.
  void on_disk(Lsn end, TimeMs now, ReplicaEffects& out);
  // What is not on disk could not be written and is forgotten. A leader whose records were published must not give
  // their LSNs again in its term: it is to resign.
  void roll_back();
  // Of what a follower took last, all from `end` on was damaged on its way.
  void give_back(Lsn end);
  // Nothing is here any more.
  void start_over();

  // Rule 13. Some of what is here is damaged: metad is told, and a follower has its copy compared with its leader's.
  void damaged(TimeMs now);
  // Found at the start: not even what is here is sure. Nothing of it is told before metad knows, who may have a better
  // copy lead.
  void doubt() {
    damaged({});
    doubtful_ = true;
  }
  void judged(TimeMs now);  // metad has answered a report
  bool doubtful() const { return doubtful_ && !alone(); }
  bool unclean() const { return unclean_ && !repaired_; }
  // What is here cannot be led or followed on with: a snapshot is under way, or must come.
  void rebuild();
  // The snapshot's next part is to have whole records from `lsn` on.
  void fetch_whole(Lsn lsn, TimeMs now);
  void fetch_later(TimeMs now) { fetch_due_ = due_ = now + kTimes.retry; }  // what came cannot be taken yet

  // From a leader. True: the records follow on; the caller writes them, and calls on_disk() once they are there.
  bool take(const PeerMessage& message, const AppendRecords& append, TimeMs now, ReplicaEffects& out);
  bool take(const PeerMessage& message, const FetchedRecords& fetched, TimeMs now, ReplicaEffects& out);
  // kCut: end() went back; the caller cuts its log off there, before it writes anything else. kDiverged: the leader
  // lacks what is committed here, as one does whom an operator forced; the caller starts over.
  enum class Truncation : std::uint8_t { kNone, kCut, kDiverged };
  Truncation take(const PeerMessage& message, const TruncateRecords& truncate, TimeMs now);
  // True: the caller takes this part, and reports the end with snapshot_taken().
  bool take(const PeerMessage& message, const SnapshotRecords& part, TimeMs now);
  void snapshot_taken(const SnapshotRecords& part, TimeMs now);
  // Is it the present leader who says this to this follower?
  bool follows(const PeerMessage& message) const {
    return is_from_leader(message) && message.session == set_.leader_session;
  }
  // From a follower.
  void take(const PeerMessage& message, const AckRecords& ack, TimeMs now, ReplicaEffects& out);
  void take(const PeerMessage& message, const FetchRecords& fetch, TimeMs now, ReplicaEffects& out);

  void tick(TimeMs now, ReplicaEffects& out);
  PeerMessage message(PeerBody body) const;
  TimeMs next_deadline() const { return has_report() ? std::min(due_, report_due_) : due_; }

  // What control records may go (a follower hears of it from its leader), and what this replica has let go.
  Lsn trim() const { return trim_; }
  void trimmed(Lsn trim);
  // Leader: the end of what all replicas have on disk.
  Lsn everyones_end() const;

 private:
  struct Follower {
    SessionId session;
    Lsn match;  // all below is on its disk, and equal to ours
    bool seen = false;
    TimeMs heard;
    TimeMs caught_up;         // when it last had all that there was at that time
    std::optional<Lsn> goal;  // the log's end at `goal_at`
    TimeMs goal_at;
  };
  struct Outstanding {
    std::uint64_t nonce;
    Lsn end;  // which it told
    TimeMs until;
  };

  bool is_from_leader(const PeerMessage& message) const;
  bool is_answer(const PeerMessage& message, std::uint64_t nonce) const;
  bool is_replica(const std::string& name) const { return lists(set_.replicas, name); }
  bool is_in_sync(const std::string& name) const { return lists(set_.in_sync, name); }
  void lead(TimeMs now);
  void mark(const std::string& name, SessionId session, Lsn end, TimeMs now, ReplicaEffects& out);
  bool can_join(const std::string& name, const Follower& follower, TimeMs now) const;
  void advance();
  void propose(TimeMs now, ReplicaEffects& out);
  std::vector<InSyncMember> wanted(TimeMs now) const;
  void send_proposal(TimeMs now, ReplicaEffects& out);
  void fetch(TimeMs now, ReplicaEffects& out);
  void schedule();
  void ack(ReplicaEffects& out);
  void follow_repair(TimeMs now);
  void begin_repair(TimeMs now);
  // 1: what is here is to be compared with a snapshot.
  Lsn first_resume() const { return unusable_ || (is_listed() && unclean()) ? Lsn{1} : Lsn{}; }
  bool is_listed() const { return lists(set_.unclean, self_); }
  bool has_report() const;
  void report(TimeMs now, ReplicaEffects& out);

  const PartitionId id_;
  const std::string self_;
  SessionId session_;
  std::uint64_t cluster_ = 0;
  PartitionInfo set_;
  Role role_ = Role::kIdle;
  EpochTable epochs_;
  Lsn end_{1};
  Lsn on_disk_{1};
  Lsn commit_{1};
  Lsn trim_{1};
  TimeMs due_;
  bool stepped_down_ = false;  // in this term
  // Rule 13.
  bool unclean_ = false;   // damage was found, or metad says so
  bool repaired_ = false;  // since then all was compared with the leader's
  bool unusable_ = false;  // see rebuild()
  bool doubtful_ = false;  // metad has not answered yet
  TimeMs report_due_;
  PartitionVersion repair_told_;  // a word of a repair names it, and may be under way
  // Leading.
  Lsn start_{1};
  std::map<std::string, Follower> followers_;
  std::optional<AlterInSync> proposed_;  // at this version; it may succeed, so it counts (rule 7)
  TimeMs proposal_due_;
  TimeMs publish_due_;
  // Following.
  bool checked_ = false;  // our log is the leader's, as far as it goes
  std::uint64_t nonce_ = 0;
  std::optional<Outstanding> outstanding_;
  Lsn leader_end_{1};
  Lsn published_{0};  // the end of what was heard last in this term, in the order in which it was published
  Lsn resume_{0};
  Lsn whole_{0};
  Lsn told_{1};   // the end that the leader was told of in this term
  Lsn stamp_{0};  // of the snapshot that goes on at `resume_`
  TimeMs fetch_due_;
};

}  // namespace dmq
