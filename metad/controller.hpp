// The controller: which queues there are, which workers live, and who leads which partition.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "metad/catalog_image.hpp"
#include "protocol/metad_messages.hpp"

namespace dmq {

inline constexpr int kHeartbeatsMissedMax = 3;
inline constexpr std::size_t kQueuesMax = 1'000'000;
inline constexpr std::size_t kQueueIdsMax = 10'000'000;  // queues and deleted queues; LIMIT: ids are never forgotten
inline constexpr std::size_t kMembersMax = 10'000;       // workers known and routers alive

struct ControllerTick {};
using ControllerEvent =
    std::variant<ControllerTick, RegisterMember, MemberHeartbeat, GetSnapshot, CreateQueue, DeleteQueue, AlterInSync,
                 ResignLeader, ReportUnclean, SetCluster, DrainWorker, FenceWorker, MovePartition, ForceLeader>;

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
// changes are durable, or undo() when they could not be written.
//
//   member:     register            3 heartbeats missed, or the same name registers again
//   (unknown) -----------> ALIVE -------------------------------------------------------> (unknown)
//
//   partition:  first worker            first queue created in it
//   NOBODY'S -----------------> PLACED -------------------------> SETTLED (its leader's name never changes)
//                                ^   | rendezvous over the alive workers, when one comes or goes
//                                '---'
//
// C1  A queue id and a session are given once, also across restarts.
// C2  The epoch of a partition grows whenever its leader changes or its leader gets a new session.
// C3  The leader of a partition in which a queue was ever created never changes: the data lies with it.
// C4  A heartbeat is good only for the latest session of a member that is alive.
class Controller {
 public:
  struct Settings {
    DurationMs heartbeat{kHeartbeatMs};
    std::string feed_endpoint;  // told to members
  };

  // Workers that were alive when the image was written count as heard from at the first step.
  Controller(CatalogImage image, Settings settings);

  // REQUIRES: `now.steady` never goes back from one call to the next.
  ControllerEffects step(ControllerTime now, const ControllerEvent& event);
  void keep() { undo_.clear(); }
  void undo();

  const CatalogCounters& counters() const { return counters_; }
  CatalogSnapshot snapshot() const;
  void check_invariants() const;  // O(n); the tests call it after every step

 private:
  struct Member {
    std::string name;
    RegisterMember::Role role;
    std::int64_t heard = 0;  // on the clock `listened_ms_`
  };
  struct Partition {
    PartitionInfo info;
    bool settled = false;  // a queue was created in it once
  };
  struct Turn;  // collects the changes of one step

  MetadReplyBody handle(const RegisterMember& member, Turn& turn);
  MetadReplyBody handle(const MemberHeartbeat& heartbeat, Turn& turn);
  MetadReplyBody handle(const GetSnapshot& get, Turn& turn);
  MetadReplyBody handle(const CreateQueue& create, Turn& turn);
  MetadReplyBody handle(const DeleteQueue& remove, Turn& turn);
  template <class Request>
  MetadReplyBody handle(const Request&, Turn&) {
    return Error{Errc::kUnsupported, "this metad does not place replicas yet"};
  }
  void expire_members(Turn& turn);
  void place_partitions(Turn& turn, const std::string& renewed);
  const std::string& best_worker(PartitionId partition) const;
  void put(Turn& turn, const QueueInfo& queue);
  void put(Turn& turn, const QueueDeleted& deleted);
  void put(Turn& turn, const PartitionInfo& partition);
  void put(Turn& turn, const WorkerInfo& worker);
  void add_member(SessionId session, Member member);
  void remove_member(SessionId session);

  Settings settings_;
  CatalogCounters counters_;
  std::map<std::string, QueueInfo, std::less<>> queues_;
  std::vector<QueueId> deleted_;
  std::vector<Partition> partitions_;  // index is the id
  std::map<std::string, WorkerInfo, std::less<>> workers_;
  std::map<SessionId, Member> members_;  // who is alive
  // Time that passed while metad listened: it stands still when the loop or the machine does, so that a stall of
  // metad's own is never taken for the silence of others.
  std::int64_t listened_ms_ = 0;
  std::optional<TimeMs> last_step_;
  std::vector<std::function<void()>> undo_;  // newest last
};

}  // namespace dmq
