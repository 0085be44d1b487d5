// The catalog as every part of the broker sees it, the messages that carry it, and the cached copy of it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/limits.hpp"

namespace dmq {

class MsgpackReader;

struct QueueSettings {
  DurationMs lease_ms{kLeaseMsDefault};  // lease of a receive that names none
  bool operator==(const QueueSettings&) const = default;
};

struct QueueInfo {
  QueueId id;
  std::string name;
  PartitionId partition;
  TimeMs created_ms;  // since 1970
  QueueSettings settings;
  bool operator==(const QueueInfo&) const = default;
};

struct PartitionInfo {
  PartitionId id;
  Epoch epoch;         // raised by metad whenever `leader` starts a new session
  std::string leader;  // a worker's name; empty: nobody yet
  bool operator==(const PartitionInfo&) const = default;
};

struct WorkerInfo {
  std::string name;
  std::string endpoint;  // where routers connect to
  SessionId session;
  bool alive = false;  // its heartbeats arrive
  std::string sync;    // commit, interval or none
  bool operator==(const WorkerInfo&) const = default;
};

struct QueueDeleted {
  QueueId id;
  std::string name;
  bool operator==(const QueueDeleted&) const = default;
};

// One change; a put replaces what has the same key.
using CatalogChange = std::variant<QueueInfo, QueueDeleted, PartitionInfo, WorkerInfo>;

struct CatalogSnapshot {
  std::uint64_t generation = 0;  // raised by an operator who restored metad from a backup
  CatalogVersion version;
  std::uint16_t partitions = 0;  // how many the cluster has; never changes
  std::vector<QueueInfo> queues;
  std::vector<QueueId> deleted;  // ids of deleted queues: what a worker may drop. All else is kept.
  std::vector<PartitionInfo> partition_infos;
  std::vector<WorkerInfo> workers;
};

// What metad publishes after each commit, and each second without changes so that a lost tail is noticed.
// `version` is the catalog's after these changes, `before` its version before them.
struct CatalogUpdate {
  std::uint64_t generation = 0;
  CatalogVersion before;
  CatalogVersion version;
  std::vector<CatalogChange> changes;
};

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
  std::map<std::string, QueueInfo, std::less<>> queues_;  // by name, in order, for queue.list
  std::unordered_map<QueueId, const QueueInfo*> queue_ids_;
  std::unordered_set<QueueId> deleted_;
  std::vector<PartitionInfo> partition_infos_;  // index is the id
  std::map<std::string, WorkerInfo, std::less<>> workers_;
};

// --- requests to metad: one frame each, answered by one frame with the same id -----------------------------------

struct RegisterMember {
  enum class Role : std::uint8_t { kWorker, kRouter };
  Role role = Role::kRouter;
  std::string name;      // unique and lasting; a worker's is kept in its store
  std::string endpoint;  // worker: where routers connect to
  std::string sync;      // worker
};
struct MemberHeartbeat {
  SessionId session;
};
struct GetSnapshot {};
struct CreateQueue {
  std::string name;
  QueueSettings settings;
  bool only_if_absent = false;  // first use: an existing queue is a success whatever its settings
};
struct DeleteQueue {
  std::string name;
};
using MetadRequestBody = std::variant<RegisterMember, MemberHeartbeat, GetSnapshot, CreateQueue, DeleteQueue>;

struct MetadRequest {
  std::uint64_t id = 0;
  MetadRequestBody body;
};

struct Registered {
  SessionId session;
  std::string feed_endpoint;  // where to subscribe
  std::uint32_t heartbeat_ms = 0;
};
struct Done {};  // heartbeat
using MetadReplyBody = std::variant<Error, Registered, Done, CatalogSnapshot, QueueInfo, QueueDeleted>;

struct MetadReply {
  std::uint64_t id = 0;
  MetadReplyBody body;
};

std::string encode_metad_request(const MetadRequest& request);
Result<MetadRequest> decode_metad_request(std::string_view bytes, MsgpackReader& reader);
std::string encode_metad_reply(const MetadReply& reply);
Result<MetadReply> decode_metad_reply(std::string_view bytes, MsgpackReader& reader);

}  // namespace dmq
