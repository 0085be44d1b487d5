// Codecs of the catalog's snapshot and of its updates (docs/protocol.md, "Inside the broker").
#include "protocol/catalog.hpp"

#include "protocol/catalog_records.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

// A change is a map with one key, its kind.
struct PackChange {
  Packer& packer;
  void operator()(const QueueInfo& queue) const {
    packer.text("queue");
    pack_queue(packer, queue);
  }
  void operator()(const QueueDeleted& deleted) const {
    packer.text("queue_deleted");
    pack_deleted(packer, deleted);
  }
  void operator()(const PartitionInfo& partition) const {
    packer.text("partition");
    pack_partition(packer, partition);
  }
  void operator()(const WorkerInfo& worker) const {
    packer.text("worker");
    pack_worker(packer, worker);
  }
  void operator()(const ClusterInfo& cluster) const {
    packer.text("cluster");
    pack_cluster(packer, cluster);
  }
  void operator()(const WorkerForgotten& forgotten) const {
    packer.text("worker_forgotten");
    pack_forgotten(packer, forgotten);
  }
};

template <class Record, class Read>
Result<void> append(std::vector<Record>& out, const msgpack::object& object, Read read) {
  auto record = read(object);
  if (!record) return tl::unexpected<Error>(record.error());
  out.emplace_back(std::move(*record));
  return {};
}

// A kind of change that this program does not know is left out: what it does not know it does not cache.
Result<void> append_change(std::vector<CatalogChange>& out, const msgpack::object& object) {
  if (auto map = check_map(object); !map) return fail(Errc::kMalformed, "change: " + map.error().context);
  if (const msgpack::object* value = find_key(object, "queue")) return append(out, *value, read_queue);
  if (const msgpack::object* value = find_key(object, "queue_deleted")) return append(out, *value, read_deleted);
  if (const msgpack::object* value = find_key(object, "partition")) return append(out, *value, read_partition);
  if (const msgpack::object* value = find_key(object, "worker")) return append(out, *value, read_worker);
  if (const msgpack::object* value = find_key(object, "cluster")) return append(out, *value, read_cluster);
  if (const msgpack::object* value = find_key(object, "worker_forgotten")) return append(out, *value, read_forgotten);
  return {};
}

// Reads an array of records, null for a missing one.
template <class Record, class Read>
Result<void> append_all(std::vector<Record>& out, const msgpack::object* array, Read read) {
  if (array == nullptr) return {};
  out.reserve(array->via.array.size);
  for (std::uint32_t i = 0; i < array->via.array.size; ++i) {
    if (auto appended = append(out, array->via.array.ptr[i], read); !appended) return appended;
  }
  return {};
}

Result<QueueId> read_queue_id(const msgpack::object& object) {
  const auto number = as_number(object);
  if (!number || *number == 0) return fail(Errc::kMalformed, "snapshot: `deleted` holds what is no queue id");
  return QueueId{*number};
}

template <class Record, class Pack>
void pack_all(Packer& packer, std::string_view key, const std::vector<Record>& records, Pack pack) {
  packer.text(key);
  packer.array(records.size());
  for (const Record& record : records) pack(packer, record);
}

}  // namespace

void pack_snapshot(Packer& packer, const CatalogSnapshot& snapshot) {
  packer.map(9);
  packer.text("generation");
  packer.number(snapshot.generation);
  packer.text("version");
  packer.number(snapshot.version.value);
  packer.text("partitions");
  packer.number(snapshot.partitions);
  pack_all(packer, "queues", snapshot.queues, pack_queue);
  pack_all(packer, "deleted", snapshot.deleted, [](Packer& out, QueueId id) { out.number(id.value); });
  pack_all(packer, "leaders", snapshot.partition_infos, pack_partition);
  pack_all(packer, "workers", snapshot.workers, pack_worker);
  packer.text("cluster");
  pack_cluster(packer, snapshot.cluster);
  packer.text("waiting");
  packer.number(snapshot.waiting);
}

Result<CatalogSnapshot> read_snapshot(const msgpack::object& object) {
  CatalogSnapshot snapshot;
  MapFields fields(object, "snapshot");
  fields.number("generation", snapshot.generation);
  fields.number("version", snapshot.version.value);
  fields.number("partitions", snapshot.partitions);
  fields.number("waiting", snapshot.waiting);
  fields.require(snapshot.partitions > 0 && snapshot.partitions <= kPartitionsMax, "partitions, from 1 to 4096,");
  const msgpack::object* queues = fields.array("queues");
  const msgpack::object* deleted = fields.array("deleted");
  const msgpack::object* leaders = fields.array("leaders");
  const msgpack::object* workers = fields.array("workers");
  const msgpack::object* cluster = fields.map("cluster");
  Result<void> good = fields.result();
  if (good) good = append_all(snapshot.queues, queues, read_queue);
  if (good) good = append_all(snapshot.deleted, deleted, read_queue_id);
  if (good) good = append_all(snapshot.partition_infos, leaders, read_partition);
  if (good) good = append_all(snapshot.workers, workers, read_worker);
  if (good && cluster != nullptr) {
    auto read = read_cluster(*cluster);
    if (!read) return tl::unexpected<Error>(read.error());
    snapshot.cluster = *read;
  }
  if (!good) return tl::unexpected<Error>(good.error());
  return snapshot;
}

std::string encode_snapshot(const CatalogSnapshot& snapshot) {
  std::string out;
  Packer packer(out);
  pack_snapshot(packer, snapshot);
  return out;
}

Result<CatalogSnapshot> decode_snapshot(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  return read_snapshot(*object);
}

std::string encode_update(const CatalogUpdate& update) {
  std::string out;
  Packer packer(out);
  packer.map(4);
  packer.text("generation");
  packer.number(update.generation);
  packer.text("before");
  packer.number(update.before.value);
  packer.text("version");
  packer.number(update.version.value);
  packer.text("changes");
  packer.array(update.changes.size());
  for (const CatalogChange& change : update.changes) {
    packer.map(1);
    std::visit(PackChange{packer}, change);
  }
  return out;
}

Result<CatalogUpdate> decode_update(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  CatalogUpdate update;
  MapFields fields(*object, "update");
  fields.number("generation", update.generation);
  fields.number("before", update.before.value);
  fields.number("version", update.version.value);
  const msgpack::object* changes = fields.array("changes");
  Result<void> good = fields.result();
  for (std::uint32_t i = 0; good && changes != nullptr && i < changes->via.array.size; ++i) {
    good = append_change(update.changes, changes->via.array.ptr[i]);
  }
  if (!good) return tl::unexpected<Error>(good.error());
  return update;
}

}  // namespace dmq
