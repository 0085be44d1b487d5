// Checked reading of the catalog's maps, and the records that requests, snapshots and updates share.
#include "protocol/catalog_records.hpp"

#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

constexpr std::size_t kCatalogArrayMax = 16'000'000;  // over 1,000,000 queues and every queue deleted so far
constexpr std::size_t kCatalogKeysMax = 32;           // keys of one record
constexpr std::string_view kPauseSend = "pause_send";
constexpr std::string_view kPauseReceive = "pause_receive";

}  // namespace

MapFields::MapFields(const msgpack::object& object, std::string_view what) : object_(object), what_(what) {
  if (auto map = check_map(object); !map) {
    result_ = fail(Errc::kMalformed, std::string(what) + ": " + map.error().context);
  }
}

const msgpack::object* MapFields::find(std::string_view key) const {
  return result_ ? find_key(object_, key) : nullptr;
}

void MapFields::fault(std::string_view key, std::string_view what_is_wrong) {
  if (!result_) return;
  result_ = fail(Errc::kMalformed, std::string(what_) + ": `" + std::string(key) + "` " + std::string(what_is_wrong));
}

bool MapFields::read_number(std::string_view key, std::uint64_t most, std::uint64_t& out) {
  const msgpack::object* value = find(key);
  if (value == nullptr) return false;
  const auto number = as_number(*value);
  if (!number || *number > most) {
    fault(key, "must be an integer from 0 to " + std::to_string(most));
    return false;
  }
  out = *number;
  return true;
}

void MapFields::wide(std::string_view key, std::uint64_t& out) {
  const msgpack::object* value = find(key);
  if (value == nullptr) return;
  if (value->type != msgpack::type::POSITIVE_INTEGER) return fault(key, "must be an integer from 0");
  out = value->via.u64;
}

void MapFields::text(std::string_view key, std::size_t bytes_max, std::string& out) {
  const msgpack::object* value = find(key);
  if (value == nullptr) return;
  const auto text = as_text(*value);
  if (!text || text->size() > bytes_max) {
    fault(key, "must be a str of at most " + std::to_string(bytes_max) + " bytes");
    return;
  }
  out = *text;
}

void MapFields::boolean(std::string_view key, bool& out) {
  const msgpack::object* value = find(key);
  if (value == nullptr) return;
  if (value->type != msgpack::type::BOOLEAN) return fault(key, "must be a boolean");
  out = value->via.boolean;
}

void MapFields::names(std::string_view key, std::vector<std::string>& out) {
  const msgpack::object* value = array(key);
  if (value == nullptr) return;
  if (value->via.array.size > kReplicasMax) return fault(key, "has more names than a partition can have replicas");
  for (std::uint32_t i = 0; i < value->via.array.size; ++i) {
    const auto name = as_text(value->via.array.ptr[i]);
    if (!name || name->empty() || name->size() > kMemberNameBytesMax) return fault(key, "must hold names of workers");
    out.emplace_back(*name);
  }
}

const msgpack::object* MapFields::array(std::string_view key) {
  const msgpack::object* value = find(key);
  if (value == nullptr || value->type == msgpack::type::ARRAY) return value;
  fault(key, "must be an array");
  return nullptr;
}

const msgpack::object* MapFields::map(std::string_view key) {
  const msgpack::object* value = find(key);
  if (value == nullptr || value->type == msgpack::type::MAP) return value;
  fault(key, "must be a map");
  return nullptr;
}

void MapFields::require(bool is_there, std::string_view key) {
  if (!is_there) fault(key, "is missing");
}

Result<msgpack::object> read_catalog_value(std::string_view bytes, MsgpackReader& reader) {
  // An array takes 24 bytes of memory for each item that it claims, and an item takes at least one byte here.
  return reader.read(bytes, {.array_items = std::min(bytes.size(), kCatalogArrayMax),
                             .map_keys = kCatalogKeysMax,
                             .string_bytes = kErrorContextBytesMax,
                             .binary_bytes = 0});
}

void pack_names(Packer& packer, std::string_view key, const std::vector<std::string>& names) {
  packer.text(key);
  packer.array(names.size());
  for (const std::string& name : names) packer.text(name);
}

void pack_settings(Packer& packer, const QueueSettings& settings) {
  const SettingPairs pairs = pack_setting_pairs(settings);
  packer.map(pairs.count);
  packer.raw(pairs.packed);
}

void pack_queue(Packer& packer, const QueueInfo& queue) {
  packer.map(6);
  packer.text("id");
  packer.number(queue.id.value);
  pack_number(packer, "version", queue.version);
  packer.text("name");
  packer.text(queue.name);
  packer.text("partition");
  packer.number(queue.partition.value);
  packer.text("created_ms");
  packer.number(static_cast<std::uint64_t>(queue.created_ms.value));
  packer.text("settings");
  pack_settings(packer, queue.settings);
}

Result<QueueInfo> read_queue(const msgpack::object& object) {
  QueueInfo queue;
  MapFields fields(object, "queue");
  fields.number("id", queue.id.value);
  fields.text("name", kQueueNameBytesMax, queue.name);
  fields.number("partition", queue.partition.value);
  fields.number("created_ms", queue.created_ms.value);
  fields.number("version", queue.version);
  fields.require(queue.id.value != 0, "id");
  fields.require(!queue.name.empty(), "name");
  const msgpack::object* settings = fields.map("settings");
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  if (settings != nullptr) {
    auto read = read_settings(*settings);
    if (!read) return tl::unexpected<Error>(read.error());
    queue.settings = *read;
  }
  return queue;
}

void pack_deleted(Packer& packer, const QueueDeleted& deleted) {
  packer.map(2);
  packer.text("id");
  packer.number(deleted.id.value);
  packer.text("name");
  packer.text(deleted.name);
}

Result<QueueDeleted> read_deleted(const msgpack::object& object) {
  QueueDeleted deleted;
  MapFields fields(object, "deleted queue");
  fields.number("id", deleted.id.value);
  fields.text("name", kQueueNameBytesMax, deleted.name);
  fields.require(deleted.id.value != 0, "id");
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  return deleted;
}

Result<MetadFrame> read_metad_frame(const msgpack::object& object, std::string_view name_key) {
  MetadFrame frame;
  MapFields fields(object, "metad message");
  fields.number("id", frame.id);
  fields.text(name_key, kWordBytesMax, frame.name);
  frame.body = fields.map("body");
  fields.require(!frame.name.empty(), name_key);
  fields.require(frame.body != nullptr, "body");
  return finish<MetadFrame>(fields, std::move(frame));
}

}  // namespace dmq
