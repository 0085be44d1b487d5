// The catalog's records of who holds and leads what: the cluster, its workers, its partitions.
#include "protocol/catalog_records.hpp"

namespace dmq {
namespace {

constexpr std::size_t kSyncBytesMax = 32;

}  // namespace

void pack_partition(Packer& packer, const PartitionInfo& partition) {
  packer.map(12);
  pack_number(packer, "id", partition.id.value);
  pack_number(packer, "epoch", partition.epoch.value);
  pack_number(packer, "version", partition.version.value);
  pack_text(packer, "leader", partition.leader);
  pack_number(packer, "leader_session", partition.leader_session.value);
  pack_number(packer, "min_in_sync", partition.min_in_sync);
  pack_names(packer, "replicas", partition.replicas);
  pack_names(packer, "target", partition.target);
  pack_names(packer, "in_sync", partition.in_sync);
  pack_names(packer, "eligible", partition.eligible);
  pack_names(packer, "unclean", partition.unclean);
  packer.text("pinned");
  packer.boolean(partition.pinned);
}

Result<PartitionInfo> read_partition(const msgpack::object& object) {
  PartitionInfo partition;
  MapFields fields(object, "partition");
  fields.number("id", partition.id.value);
  fields.number("epoch", partition.epoch.value);
  fields.number("version", partition.version.value);
  fields.text("leader", kMemberNameBytesMax, partition.leader);
  fields.number("leader_session", partition.leader_session.value);
  fields.number("min_in_sync", partition.min_in_sync);
  fields.names("replicas", partition.replicas);
  fields.names("target", partition.target);
  fields.names("in_sync", partition.in_sync);
  fields.names("eligible", partition.eligible);
  fields.names("unclean", partition.unclean);
  fields.boolean("pinned", partition.pinned);
  fields.require(partition.id.value < kPartitionsMax, "id below the limit of partitions");
  return finish<PartitionInfo>(fields, std::move(partition));
}

void pack_worker(Packer& packer, const WorkerInfo& worker) {
  packer.map(11);
  pack_text(packer, "name", worker.name);
  pack_text(packer, "endpoint", worker.endpoint);
  pack_number(packer, "session", worker.session.value);
  packer.text("alive");
  packer.boolean(worker.alive);
  pack_text(packer, "sync", worker.sync);
  pack_text(packer, "zone", worker.zone);
  pack_text(packer, "log", worker.log_endpoint);
  pack_text(packer, "peer", worker.peer_endpoint);
  pack_text(packer, "store", worker.store_id);
  packer.text("draining");
  packer.boolean(worker.draining);
  packer.text("fenced");
  packer.boolean(worker.fenced_by_operator);
}

Result<WorkerInfo> read_worker(const msgpack::object& object) {
  WorkerInfo worker;
  MapFields fields(object, "worker");
  fields.text("name", kMemberNameBytesMax, worker.name);
  fields.text("endpoint", kEndpointBytesMax, worker.endpoint);
  fields.number("session", worker.session.value);
  fields.boolean("alive", worker.alive);
  fields.text("sync", kSyncBytesMax, worker.sync);
  fields.text("zone", kMemberNameBytesMax, worker.zone);
  fields.text("log", kEndpointBytesMax, worker.log_endpoint);
  fields.text("peer", kEndpointBytesMax, worker.peer_endpoint);
  fields.text("store", kWordBytesMax, worker.store_id);
  fields.boolean("draining", worker.draining);
  fields.boolean("fenced", worker.fenced_by_operator);
  fields.require(!worker.name.empty(), "name");
  return finish<WorkerInfo>(fields, std::move(worker));
}

void pack_forgotten(Packer& packer, const WorkerForgotten& forgotten) {
  packer.map(1);
  pack_text(packer, "name", forgotten.name);
}

Result<WorkerForgotten> read_forgotten(const msgpack::object& object) {
  WorkerForgotten forgotten;
  MapFields fields(object, "forgotten worker");
  fields.text("name", kMemberNameBytesMax, forgotten.name);
  fields.require(!forgotten.name.empty(), "name");
  return finish<WorkerForgotten>(fields, std::move(forgotten));
}

void pack_cluster(Packer& packer, const ClusterInfo& cluster) {
  packer.map(3);
  pack_number(packer, "id", cluster.id);
  pack_number(packer, "replication_factor", cluster.replication_factor);
  pack_number(packer, "min_in_sync", cluster.min_in_sync);
}

Result<ClusterInfo> read_cluster(const msgpack::object& object) {
  ClusterInfo cluster;
  MapFields fields(object, "cluster");
  fields.number("id", cluster.id);
  fields.number("replication_factor", cluster.replication_factor);
  fields.number("min_in_sync", cluster.min_in_sync);
  return finish<ClusterInfo>(fields, cluster);
}

}  // namespace dmq
