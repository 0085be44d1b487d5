// The catalog's records as MessagePack maps; shared by the codecs of the catalog, private to this folder.
#pragma once

#include <algorithm>
#include <limits>
#include <msgpack.hpp>
#include <string>
#include <string_view>

#include "protocol/catalog.hpp"
#include "protocol/packing.hpp"

namespace dmq {

inline constexpr std::size_t kMemberNameBytesMax = 200;
inline constexpr std::size_t kEndpointBytesMax = 1024;
inline constexpr std::size_t kErrorContextBytesMax = 4096;
inline constexpr std::size_t kWordBytesMax = 64;  // an op, a kind, a role, an identity

// Reads the keys of one map. A missing key leaves the default, an unknown one is ignored, a value of another type
// or out of range is a fault. The first fault wins; later calls do nothing. Borrows the object.
class MapFields {
 public:
  // `what` names the map in an error's sentence.
  MapFields(const msgpack::object& object, std::string_view what);

  template <class Rep>
  void number(std::string_view key, Rep& out) {
    std::uint64_t value = 0;
    const auto most = static_cast<std::uint64_t>(std::numeric_limits<Rep>::max());
    if (read_number(key, std::min<std::uint64_t>(most, kNumberMax), value)) out = static_cast<Rep>(value);
  }
  // Up to 2^64 - 1: of what only programs of dmq read.
  void wide(std::string_view key, std::uint64_t& out);
  void text(std::string_view key, std::size_t bytes_max, std::string& out);
  void boolean(std::string_view key, bool& out);
  // An array of at most kReplicasMax names of workers.
  void names(std::string_view key, std::vector<std::string>& out);
  // Null when the key is missing or its value is no array or map; the latter is a fault.
  const msgpack::object* array(std::string_view key);
  const msgpack::object* map(std::string_view key);
  // The record cannot do without `key`: it is a fault when `is_there` is false.
  void require(bool is_there, std::string_view key);

  const Result<void>& result() const { return result_; }

 private:
  const msgpack::object* find(std::string_view key) const;
  bool read_number(std::string_view key, std::uint64_t most, std::uint64_t& out);
  void fault(std::string_view key, std::string_view what_is_wrong);

  const msgpack::object& object_;
  std::string_view what_;
  Result<void> result_;
};

// One value that fills `bytes`. Errors: malformed, too_large. Arrays may be as long as a catalog's.
Result<msgpack::object> read_catalog_value(std::string_view bytes, MsgpackReader& reader);

// A key of a map and its value.
void pack_names(Packer& packer, std::string_view key, const std::vector<std::string>& names);

void pack_settings(Packer& packer, const QueueSettings& settings);
void pack_queue(Packer& packer, const QueueInfo& queue);
void pack_deleted(Packer& packer, const QueueDeleted& deleted);
void pack_partition(Packer& packer, const PartitionInfo& partition);
void pack_worker(Packer& packer, const WorkerInfo& worker);
void pack_cluster(Packer& packer, const ClusterInfo& cluster);
void pack_forgotten(Packer& packer, const WorkerForgotten& forgotten);
void pack_snapshot(Packer& packer, const CatalogSnapshot& snapshot);
// Settings that are not known, of a newer version, are passed over. Errors: malformed.
Result<QueueSettings> read_settings(const msgpack::object& object);
Result<QueueInfo> read_queue(const msgpack::object& object);
Result<QueueDeleted> read_deleted(const msgpack::object& object);
Result<PartitionInfo> read_partition(const msgpack::object& object);
Result<WorkerInfo> read_worker(const msgpack::object& object);
Result<ClusterInfo> read_cluster(const msgpack::object& object);
Result<WorkerForgotten> read_forgotten(const msgpack::object& object);
Result<CatalogSnapshot> read_snapshot(const msgpack::object& object);

// What a request to metad and a reply of it have around their bodies; `name` is an op or a kind.
struct MetadFrame {
  std::uint64_t id = 0;
  std::string name;
  const msgpack::object* body = nullptr;  // points into the reader's object
};
Result<MetadFrame> read_metad_frame(const msgpack::object& object, std::string_view name_key);

template <class Body, class Record>
Result<Body> finish(const MapFields& fields, Record record) {
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  return Body(std::move(record));
}

}  // namespace dmq
