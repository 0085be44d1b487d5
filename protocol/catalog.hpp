// The catalog as every part of the broker sees it, what carries it, and the cached copy of it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "protocol/confirmation.hpp"
#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"
#include "protocol/queue_settings.hpp"

namespace dmq {

class MsgpackReader;

struct QueueInfo {
  QueueId id;
  std::string name;
  PartitionId partition;
  TimeMs created_ms;  // since 1970
  QueueSettings settings;
  std::uint64_t version = 1;  // of the settings: grows with each change of them
  bool operator==(const QueueInfo&) const = default;
};

// What holds for all partitions. Durable, and part of the snapshot.
struct ClusterInfo {
  std::uint64_t id = 0;  // random, made with the catalog; from 1 to 2^53; in each frame between replicas
  std::uint8_t replication_factor = 1;
  std::uint8_t min_in_sync = 1;  // the one that counts stands with each partition
  bool operator==(const ClusterInfo&) const = default;
};

// Who holds a partition and who leads it; written by metad only. Names are workers'. The sets stand in the order of
// `replicas`, hold nobody twice, and no name is in two of them.
struct PartitionInfo {
  PartitionId id;
  Epoch epoch;                        // grows when the leader or its session changes
  PartitionVersion version;           // grows with each change of any field
  std::string leader;                 // a worker's name; empty: nobody
  SessionId leader_session;           // only the worker in this session leads (rule 1); 0: nobody
  std::uint8_t min_in_sync = 1;       // nothing is confirmed while fewer are in sync; changes with the version
  std::vector<std::string> replicas;  // who holds it now or is to hold it, by preference as leader
  std::vector<std::string> target;    // where a move leads; empty: no move
  std::vector<std::string> in_sync;   // ISR: all that is confirmed is on each of them
  std::vector<std::string> eligible;  // ELR: left the in-sync set when it was small, and miss nothing confirmed
  std::vector<std::string> unclean;   // said that their copy is damaged, and not yet that it is whole again (rule 13)
  bool pinned = false;                // an operator chose the replicas
  bool operator==(const PartitionInfo&) const = default;
};

struct WorkerInfo {
  std::string name;
  std::string endpoint;  // where routers connect to
  SessionId session;
  bool alive = false;         // its heartbeats arrive
  std::string sync;           // commit, interval or none
  std::string zone;           // what fails together; empty: not said
  std::string log_endpoint;   // its PUB socket, followers subscribe; empty: it cannot be followed
  std::string peer_endpoint;  // its ROUTER socket for followers
  std::string store_id;
  bool draining = false;            // it is to hold nothing any more
  bool fenced_by_operator = false;  // it may neither lead nor be in sync
  bool operator==(const WorkerInfo&) const = default;
};

struct QueueDeleted {
  QueueId id;
  std::string name;
  bool operator==(const QueueDeleted&) const = default;
};

struct WorkerForgotten {
  std::string name;
  bool operator==(const WorkerForgotten&) const = default;
};

// One change; a put replaces what has the same key.
using CatalogChange = std::variant<QueueInfo, QueueDeleted, PartitionInfo, WorkerInfo, ClusterInfo, WorkerForgotten>;

struct CatalogSnapshot {
  std::uint64_t generation = 0;  // raised by an operator who restored metad from a backup
  CatalogVersion version;
  std::uint16_t partitions = 0;  // how many the cluster has; never changes
  std::vector<QueueInfo> queues;
  std::vector<QueueId> deleted;  // ids of deleted queues: what a worker may drop. All else is kept.
  std::vector<PartitionInfo> partition_infos;
  std::vector<WorkerInfo> workers;
  ClusterInfo cluster;
  std::uint32_t waiting = 0;  // partitions that are to move when others have arrived; for operators, no part of copies
};

// What metad publishes after each commit, and each second without changes so that a lost tail is noticed.
// `version` is the catalog's after these changes, `before` its version before them.
struct CatalogUpdate {
  std::uint64_t generation = 0;
  CatalogVersion before;
  CatalogVersion version;
  std::vector<CatalogChange> changes;
};

// Is `name` one of `names`?
bool lists(const std::vector<std::string>& names, std::string_view name);

std::string encode_snapshot(const CatalogSnapshot& snapshot);
Result<CatalogSnapshot> decode_snapshot(std::string_view bytes, MsgpackReader& reader);
std::string encode_update(const CatalogUpdate& update);
Result<CatalogUpdate> decode_update(std::string_view bytes, MsgpackReader& reader);

// A cached copy. Pure state: it answers from what it was last told, also while metad is away.
//
//   EMPTY -- snapshot --> FRESH -- update that leaves a gap --> STALE (still answers) -- snapshot --> FRESH
class CatalogCopy {
 public:
  enum class Applied { kDone, kOld, kGap };

  CatalogCopy() = default;
  CatalogCopy(CatalogCopy&&) = default;  // no copies: queue_ids_ points into queues_
  CatalogCopy& operator=(CatalogCopy&&) = default;

  void apply(CatalogSnapshot snapshot);
  // kGap: updates were missed, ask for a snapshot; nothing was changed. kOld: known already.
  Applied apply(const CatalogUpdate& update);

  bool empty() const { return partitions_ == 0; }
  std::uint64_t generation() const { return generation_; }
  CatalogVersion version() const { return version_; }
  std::uint16_t partitions() const { return partitions_; }
  const ClusterInfo& cluster() const { return cluster_; }
  const QueueInfo* find_queue(std::string_view name) const;
  const QueueInfo* find_queue(QueueId id) const;
  bool is_deleted(QueueId id) const { return deleted_.contains(id); }
  const PartitionInfo* find_partition(PartitionId id) const;
  const WorkerInfo* find_worker(std::string_view name) const;
  const std::map<std::string, QueueInfo, std::less<>>& queues() const { return queues_; }
  const std::map<std::string, WorkerInfo, std::less<>>& workers() const { return workers_; }
  const std::unordered_set<QueueId>& deleted() const { return deleted_; }

 private:
  void put(const CatalogChange& change);

  std::uint64_t generation_ = 0;
  CatalogVersion version_;
  std::uint16_t partitions_ = 0;
  ClusterInfo cluster_;
  std::map<std::string, QueueInfo, std::less<>> queues_;  // by name, in order, for queue.list
  std::unordered_map<QueueId, const QueueInfo*> queue_ids_;
  std::unordered_set<QueueId> deleted_;
  std::vector<PartitionInfo> partition_infos_;  // index is the id
  std::map<std::string, WorkerInfo, std::less<>> workers_;
};

}  // namespace dmq
