// The controller: which queues there are, which workers live, who holds, leads and is in sync with which partition.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "metad/catalog_image.hpp"
#include "protocol/metad_messages.hpp"

namespace dmq {

inline constexpr std::size_t kQueuesMax = 1'000'000;
inline constexpr std::size_t kQueueIdsMax = 10'000'000;  // queues and deleted queues; LIMIT: ids are never forgotten
inline constexpr std::size_t kMembersMax = 10'000;       // workers known and routers alive
inline constexpr std::size_t kMovesMax = 8;              // partitions that move at once
inline constexpr std::size_t kHandoversPerTick = 4;      // leaderships given to the preferred worker
inline constexpr std::size_t kPlacementsPerTick = 256;   // partitions whose place is looked at
inline constexpr DurationMs kResignPause{60'000};        // so much later leads again who resigned

struct ControllerTick {};
using ControllerEvent = std::variant<ControllerTick, RegisterMember, MemberHeartbeat, GetSnapshot, CreateQueue,
                                     UpdateQueue, DeleteQueue, AlterInSync, ResignLeader, ReportUnclean, SetCluster,
                                     DrainWorker, FenceWorker, MovePartition, ForceLeader, ForgetWorker>;

struct ControllerTime {
  TimeMs steady;  // for heartbeats
  TimeMs wall;    // for what is stored
};

// What the loop must do, in this order: commit `changes` (of all steps of a turn) with counters(), then send `reply`
// and publish the changes. A reply sent before its commit promises what a crash can undo.
struct ControllerEffects {
  std::vector<CatalogChange> changes;
  std::optional<MetadReplyBody> reply;  // empty for a tick
};

// Pure: knows no socket, disk, thread or clock. Belongs to one loop, which after each turn calls keep() when the
// changes are durable, or undo() when they could not be written. Rules are those of replication, docs/architecture.md.
//
//   worker:     registers              heartbeats missed, the name registers again, an operator's fence
//   (unknown) ------------> UNFENCED <--------------------------------------------------> FENCED
//
//   partition:  first worker            first queue created in it
//   NOBODY'S -----------------> AT WILL -------------------------> SETTLED: moves only by copying (target)
//                                ^   | rendezvous over the unfenced workers, in one step
//                                '---'
//
// C1  A queue id and a session are given once, also across restarts.
// C2  The epoch of a partition grows whenever its leader or the leader's session changes, its version with any change.
// C3  A leader is unfenced, in its current session and in sync. There is one whenever someone could be.
// C4  A heartbeat is good only for the latest session of a member that is alive.
// C5  In sync are unfenced workers only. In-sync and eligible set are disjoint parts of the replicas, and nobody is
//     eligible while min_in_sync are in sync.
// C6  What a partition in which a queue was ever created has as in-sync or eligible copies is only given up when a move
//     has put as many elsewhere, when a worker says that its copy is bad (of one partition: while another copy is
//     there), or when an operator forces a leader.
// C7  Who is unclean is a replica that is neither in sync nor eligible.
class Controller {
 public:
  struct Settings {
    DurationMs heartbeat{kMemberHeartbeatMs};
    std::uint32_t missed_heartbeats = kHeartbeatsMissedDefault;
    std::string feed_endpoint;              // told to members
    DurationMs handover_after{5'000};       // that a preferred leader is in sync
    DurationMs replace_after{10 * 60'000};  // that a worker is away: its replicas are made anew elsewhere
  };

  // Workers that were alive when the image was written count as heard from at the first step.
  Controller(CatalogImage image, Settings settings);

  // REQUIRES: `now.steady` never goes back from one call to the next.
  ControllerEffects step(ControllerTime now, const ControllerEvent& event);
  void keep() { undo_.clear(); }
  void undo();

  const CatalogCounters& counters() const { return counters_; }
  const ClusterInfo& cluster() const { return cluster_; }
  CatalogSnapshot snapshot() const;
  void check_invariants() const;  // O(n); the tests call it after every step

 private:
  struct Member {
    std::string name;
    RegisterMember::Role role;
    std::int64_t heard = 0;  // on the clock `listened_ms_`
  };
  struct Worker {
    WorkerInfo info;
    std::int64_t lost_since = 0;  // on the clock `listened_ms_`; means something while it is fenced
  };
  struct Partition {
    PartitionInfo info;
    bool settled = false;                      // a queue was created in it once
    std::optional<std::int64_t> better_since;  // on `listened_ms_`: someone else should lead; no part of the catalog
    bool at_will() const { return !settled || info.replicas.empty(); }  // it holds nothing
  };
  using Candidates = std::vector<const WorkerInfo*>;
  struct Turn;  // collects the changes of one step

  // controller.cpp: queues and what reads only
  MetadReplyBody handle(const GetSnapshot& get, Turn& turn);
  MetadReplyBody handle(const CreateQueue& create, Turn& turn);
  MetadReplyBody handle(const UpdateQueue& update, Turn& turn);
  Result<QueueInfo> add_queue(const std::string& name, const QueueSettings& settings, Turn& turn);
  Result<void> add_dead_letter(const std::string& queue, const QueueSettings& settings, Turn& turn);
  MetadReplyBody handle(const DeleteQueue& remove, Turn& turn);

  // controller_members.cpp: who is there
  MetadReplyBody handle(const RegisterMember& member, Turn& turn);
  MetadReplyBody handle(const MemberHeartbeat& heartbeat, Turn& turn);
  MetadReplyBody handle(const DrainWorker& drain, Turn& turn);
  MetadReplyBody handle(const FenceWorker& fence, Turn& turn);
  MetadReplyBody handle(const ForgetWorker& forget, Turn& turn);
  SessionId begin_session(const RegisterMember& member);
  void expire_members(Turn& turn);
  void review_partitions(Turn& turn, const std::vector<std::string>& gone, bool unclean);
  void mark_all_unclean(Turn& turn, const std::string& worker);
  WorkerLoad load_of(const std::string& worker) const;

  // controller_leaders.cpp: who leads and who is in sync
  MetadReplyBody handle(const AlterInSync& alter, Turn& turn);
  MetadReplyBody handle(const ResignLeader& resign, Turn& turn);
  MetadReplyBody handle(const ReportUnclean& report, Turn& turn);
  MetadReplyBody handle(const ForceLeader& force, Turn& turn);
  bool may_alter(const PartitionInfo& info, const AlterInSync& alter) const;
  bool can_do_without(const PartitionInfo& info, const std::string& worker) const;
  bool leads(const PartitionInfo& info) const;
  const std::string* first_able(const PartitionInfo& info, const std::vector<std::string>& among) const;
  void elect(PartitionInfo& info) const;
  const std::string* better_leader(const PartitionInfo& info) const;
  void even_out_leaders(Turn& turn);

  // controller_moves.cpp: who holds
  MetadReplyBody handle(const SetCluster& set, Turn& turn);
  MetadReplyBody handle(const MovePartition& move, Turn& turn);
  Result<void> check_destination(const std::vector<std::string>& replicas) const;
  Candidates placeable() const;
  Candidates lasting() const;
  void place(PartitionInfo& info, const Candidates& candidates) const;
  std::vector<std::string> goal_of(const PartitionInfo& info, const Candidates& candidates) const;
  bool begin_move(PartitionInfo& info, const std::vector<std::string>& goal) const;
  void finish_move(PartitionInfo& info) const;
  std::size_t moves_under_way() const;
  std::size_t moves_to_come() const;
  void tend_moves(Turn& turn);

  // controller_state.cpp: each change with its way back
  const WorkerInfo* find_worker(std::string_view name) const;
  bool unfenced(std::string_view name) const;
  static bool unfenced(const WorkerInfo& worker) { return worker.alive && !worker.fenced_by_operator; }
  std::vector<PartitionId> settle(const QueueInfo& queue);
  void put(Turn& turn, const QueueInfo& queue);
  void put(Turn& turn, const QueueDeleted& deleted);
  void put(Turn& turn, const PartitionInfo& partition);
  void put(Turn& turn, const WorkerInfo& worker);
  void put(Turn& turn, const WorkerForgotten& forgotten);
  void put(Turn& turn, const ClusterInfo& cluster);
  void revise(Turn& turn, PartitionInfo info);  // puts it in a new version if anything differs
  void add_member(SessionId session, Member member);
  void remove_member(SessionId session);
  void check_partition(const Partition& partition) const;

  Settings settings_;
  CatalogCounters counters_;
  ClusterInfo cluster_;
  std::map<std::string, QueueInfo, std::less<>> queues_;
  std::vector<QueueId> deleted_;
  std::vector<Partition> partitions_;  // index is the id
  std::map<std::string, Worker, std::less<>> workers_;
  std::map<SessionId, Member> members_;  // who is alive
  std::size_t next_placement_ = 0;       // the partition that tend_moves looks at next
  struct Looked {
    CatalogVersion version;
    Candidates candidates;
    std::size_t partitions = 0;
  };
  Looked looked_;  // what tend_moves has looked at since the last change
  // Time that passed while metad listened: it stands still when the loop or the machine does, so that a stall of
  // metad's own is never taken for the silence of others.
  std::int64_t listened_ms_ = 0;
  std::optional<TimeMs> last_step_;
  std::vector<std::function<void()>> undo_;  // newest last
};

}  // namespace dmq
