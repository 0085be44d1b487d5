// What is said to metad and answered by it: one frame each way, a request and the reply with the same id.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/catalog.hpp"

namespace dmq {

// --- members -----------------------------------------------------------------------------------------------------

struct RegisterMember {
  enum class Role : std::uint8_t { kWorker, kRouter };
  Role role = Role::kRouter;
  std::string name;      // unique and lasting; a worker's is kept in its store
  std::string endpoint;  // worker: where routers connect to
  std::string sync;      // worker
  // The rest is a worker's too; see WorkerInfo.
  std::string zone;
  std::string log_endpoint;
  std::string peer_endpoint;
  std::string store_id;
  bool clean = true;  // the store was opened, its checksums are right, nothing confirmed is missing (rule 1)
};
struct MemberHeartbeat {
  SessionId session;
};
struct GetSnapshot {};

// --- queues ------------------------------------------------------------------------------------------------------

struct CreateQueue {
  std::string name;
  QueueSettings settings;
  bool only_if_absent = false;  // first use: an existing queue is a success whatever its settings
};
// Compare and set: only while the settings have this version. Answered by the QueueInfo as it is then.
struct UpdateQueue {
  std::string name;
  std::uint64_t version = 0;
  QueueSettings settings;
};
struct DeleteQueue {
  std::string name;
};

// --- the leader of a partition: answered by the PartitionInfo as it is after the request ---------------------------

struct InSyncMember {
  std::string name;
  SessionId session;  // in which the leader saw it
  bool operator==(const InSyncMember&) const = default;
};
// Compare and set (rule 8): it succeeds only while the leader's session, the epoch and the version are these. Whether
// it did shows in the answer's version and in_sync; to ask again is harmless.
struct AlterInSync {
  SessionId session;
  PartitionId partition;
  Epoch epoch;
  PartitionVersion version;
  std::vector<InSyncMember> in_sync;  // with the leader
};
// Another in-sync member is to lead; when there is none, the same one in a new epoch.
struct ResignLeader {
  SessionId session;
  PartitionId partition;
  Epoch epoch;
};
// The sender's copy is damaged: it is neither in sync nor eligible, leads no more, and cannot come in sync until it
// says that it is whole again (rule 13). The last complete copy that could lead stays what it is.
struct ReportUnclean {
  SessionId session;
  PartitionId partition;
  bool repaired = false;
  PartitionVersion version;  // of the entry that the worker knows; a word of another one changes nothing
};

// --- operators ---------------------------------------------------------------------------------------------------

struct SetCluster {  // answered by the ClusterInfo
  std::uint8_t replication_factor = 1;
  std::uint8_t min_in_sync = 1;
};
struct DrainWorker {  // answered by WorkerLoad; ask again to see how it goes
  std::string name;
  bool on = true;
};
struct FenceWorker {  // answered by WorkerLoad
  std::string name;
  bool on = true;
};
struct ForgetWorker {  // answered by WorkerForgotten, also when it was forgotten before
  std::string name;    // it is away and holds nothing
};
struct MovePartition {  // answered by the PartitionInfo
  PartitionId partition;
  std::vector<std::string> replicas;  // by preference as leader; empty: where metad would put it
};
struct ForceLeader {  // answered by the PartitionInfo
  PartitionId partition;
  std::string worker;
  bool accept_loss = false;  // without it metad refuses, and says what would be lost
};

using MetadRequestBody = std::variant<RegisterMember, MemberHeartbeat, GetSnapshot, CreateQueue, UpdateQueue,
                                      DeleteQueue, AlterInSync, ResignLeader, ReportUnclean, SetCluster, DrainWorker,
                                      FenceWorker, MovePartition, ForceLeader, ForgetWorker>;

struct MetadRequest {
  std::uint64_t id = 0;
  MetadRequestBody body;
};

// --- replies -----------------------------------------------------------------------------------------------------

struct Registered {
  SessionId session;
  std::string feed_endpoint;  // where to subscribe
  std::uint32_t heartbeat_ms = 0;
  std::uint32_t missed_heartbeats = 0;  // so many without an answer: the session may be over (rule 11)
  std::uint64_t generation = 0;
  CatalogVersion floor;  // in that generation; nothing older is ever applied in this session (rule 1)
};
struct Done {};  // heartbeat
struct WorkerLoad {
  std::uint32_t leads = 0;  // partitions
  std::uint32_t holds = 0;  // partitions of which it is a replica
  bool operator==(const WorkerLoad&) const = default;
};
using MetadReplyBody = std::variant<Error, Registered, Done, CatalogSnapshot, QueueInfo, QueueDeleted, PartitionInfo,
                                    ClusterInfo, WorkerLoad, WorkerForgotten>;

struct MetadReply {
  std::uint64_t id = 0;
  MetadReplyBody body;
};

std::string encode_metad_request(const MetadRequest& request);
Result<MetadRequest> decode_metad_request(std::string_view bytes, MsgpackReader& reader);
// Of a request that is wrong otherwise, so that its sender can be told; empty when there is none.
std::optional<std::uint64_t> metad_request_id(std::string_view bytes, MsgpackReader& reader);
std::string encode_metad_reply(const MetadReply& reply);
Result<MetadReply> decode_metad_reply(std::string_view bytes, MsgpackReader& reader);

}  // namespace dmq
