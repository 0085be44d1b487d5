// Encoding of descriptions; docs/protocol.md lists each key.
#include "protocol/queue_info.hpp"

#include <array>

#include "protocol/catalog_records.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kSettingsLimits{.array_items = 16, .map_keys = 64, .string_bytes = 1024, .binary_bytes = 1024};
constexpr std::array<std::string_view, 8> kFeatures{
    "headers", "idempotent_producer", "nack_delay", "priority", "delay", "ttl", "labels", "queue_update"};
constexpr std::size_t kInfoKeys = 5;  // and the settings

void put(Packer& packer, std::string_view key, std::uint64_t value) {
  packer.text(key);
  packer.number(value);
}

void put(Packer& packer, std::string_view key, std::string_view value) {
  packer.text(key);
  packer.text(value);
}

void put_info(Packer& packer, const QueueInfo& queue) {
  put(packer, "name", std::string_view(queue.name));
  put(packer, "id", std::string_view(std::to_string(queue.id.value)));
  put(packer, "partition", std::uint64_t{queue.partition.value});
  put(packer, "created_ms", static_cast<std::uint64_t>(queue.created_ms.value));
  put(packer, "version", queue.version);
  pack_each_setting(packer, queue.settings);
}

std::size_t info_keys(const QueueInfo& queue) { return kInfoKeys + settings_count(queue.settings); }

Result<DurationMs> read_span(std::string_view key, const msgpack::object& object) {
  const auto value = as_number(object);
  if (!value) return fail(Errc::kInvalidArgument, "`" + std::string(key) + "` must be a number of milliseconds from 0");
  return DurationMs{static_cast<std::int64_t>(*value)};
}

Result<void> read_setting(std::string_view key, const msgpack::object& object, QueueSettings& out) {
  if (key == "lease_ms") {
    const auto value = as_number(object);
    if (!value || *value < std::uint64_t{kLeaseMsMin} || *value > std::uint64_t{kLeaseMsMax}) {
      return fail(Errc::kInvalidArgument, "`lease_ms` must be an integer from 100 to 43200000");
    }
    out.lease_ms = DurationMs{static_cast<std::int64_t>(*value)};
  } else if (key == "confirm") {
    const auto confirmation = confirmation_from_name(as_text(object).value_or(""));
    if (!confirmation) return fail(Errc::kInvalidArgument, "`confirm` must be \"in_sync\" or \"leader\"");
    out.confirm = *confirmation;
  } else if (key == "delay_ms" || key == "ttl_ms") {
    const auto span = read_span(key, object);
    if (!span) return tl::unexpected<Error>(span.error());
    (key == "delay_ms" ? out.delay_ms : out.ttl_ms) = *span;
  } else if (key == "pause_send" || key == "pause_receive") {
    if (object.type != msgpack::type::BOOLEAN) {
      return fail(Errc::kInvalidArgument, "`" + std::string(key) + "` must be true or false");
    }
    (key == "pause_send" ? out.pause_send : out.pause_receive) = object.via.boolean;
  } else if (key == "priority_weights" && object.type == msgpack::type::NIL) {
    out.priority_weights = {};
  } else if (key == "priority_weights") {
    const auto weights = read_priority_weights(object);
    if (!weights) return tl::unexpected<Error>(weights.error());
    out.priority_weights = *weights;
  } else {
    return fail(Errc::kInvalidArgument,
                "there is no setting '" + std::string(repeatable(key)) +
                    "'; known: lease_ms, confirm, delay_ms, ttl_ms, priority_weights, pause_send, pause_receive");
  }
  return {};
}

}  // namespace

Result<QueueSettings> decode_queue_settings(std::string_view payload, MsgpackReader& reader, QueueSettings settings) {
  if (payload.empty()) return settings;
  const auto object = reader.read(payload, kSettingsLimits);
  if (!object) return tl::unexpected<Error>(object.error());
  if (auto map = check_map(*object); !map) return fail(Errc::kMalformed, "settings: " + map.error().context);
  for (std::uint32_t i = 0; i < object->via.map.size; ++i) {
    const auto& pair = object->via.map.ptr[i];
    if (auto read = read_setting(as_text(pair.key).value_or(""), pair.val, settings); !read) {
      return tl::unexpected<Error>(read.error());
    }
  }
  return settings;
}

std::string encode_queue_settings(const QueueSettings& settings) {
  std::string out;
  Packer packer(out);
  pack_settings(packer, settings);
  return out;
}

std::string encode_queue_info(const QueueInfo& queue) {
  std::string out;
  Packer packer(out);
  packer.map(info_keys(queue));
  put_info(packer, queue);
  return out;
}

std::string encode_queue_status(const QueueInfo& queue, const QueueStatus& status) {
  std::string out;
  Packer packer(out);
  packer.map(info_keys(queue) + 6);
  put_info(packer, queue);
  put(packer, "worker", std::string_view(status.worker));
  put(packer, "ready", status.ready);
  put(packer, "leased", status.leased);
  put(packer, "delayed", status.delayed);
  put(packer, "bytes", status.bytes);
  put(packer, "waiting", status.waiting);
  return out;
}

std::string encode_queue_list(const std::vector<const QueueInfo*>& queues) {
  std::string out;
  Packer packer(out);
  packer.array(queues.size());
  for (const QueueInfo* queue : queues) {
    packer.map(info_keys(*queue));
    put_info(packer, *queue);
  }
  return out;
}

std::string encode_hello(const HelloInfo& info) {
  std::string out;
  Packer packer(out);
  packer.map(info.admin.empty() ? 7 : 8);
  put(packer, "server", std::string_view("dmq"));
  put(packer, "version", std::string_view("0.1.0"));
  packer.text("versions");
  packer.array(1);
  packer.number(kProtocolVersion);
  packer.text("features");
  packer.array(kFeatures.size());
  for (const std::string_view feature : kFeatures) packer.text(feature);
  put(packer, "sync", std::string_view(info.sync));
  put(packer, "heartbeat_ms", static_cast<std::uint64_t>(kHeartbeatMs));
  if (!info.admin.empty()) put(packer, "admin", std::string_view(info.admin));
  packer.text("limits");
  packer.map(8);
  put(packer, "queue_name_bytes", std::uint64_t{kQueueNameBytesMax});
  put(packer, "header_bytes", std::uint64_t{kHeaderBytesMax});
  put(packer, "message_bytes", std::uint64_t{kMessageBytesMax});
  put(packer, "request_bytes", std::uint64_t{kRequestBytesMax});
  put(packer, "batch_messages", std::uint64_t{kBatchMessagesMax});
  put(packer, "message_header_bytes", std::uint64_t{kMessageHeaderBytesMax});
  put(packer, "wait_ms", static_cast<std::uint64_t>(kWaitMsMax));
  put(packer, "lease_ms", static_cast<std::uint64_t>(kLeaseMsMax));
  return out;
}

}  // namespace dmq
