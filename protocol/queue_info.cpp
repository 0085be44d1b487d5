// Encoding of descriptions; docs/protocol.md lists each key.
#include "protocol/queue_info.hpp"

#include <array>

#include "protocol/catalog_records.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr std::array<std::string_view, 15> kFeatures{"headers",        "idempotent_producer",
                                                     "nack_delay",     "priority",
                                                     "delay",          "ttl",
                                                     "labels",         "queue_update",
                                                     "retry",          "dead_letter",
                                                     "browse",         "purge",
                                                     "queue_stats",    "limits",
                                                     "ack_on_delivery"};
constexpr std::size_t kInfoKeys = 5;  // and the settings

void put(Packer& packer, std::string_view key, std::uint64_t value) {
  packer.text(key);
  packer.number(value);
}

void put(Packer& packer, std::string_view key, std::string_view value) {
  packer.text(key);
  packer.text(value);
}

// The start of a map that has `more` keys besides.
void put_info(Packer& packer, const QueueInfo& queue, std::size_t more = 0) {
  const SettingPairs settings = pack_setting_pairs(queue.settings);
  packer.map(kInfoKeys + settings.count + more);
  put(packer, "name", std::string_view(queue.name));
  put(packer, "id", std::string_view(std::to_string(queue.id.value)));
  put(packer, "partition", std::uint64_t{queue.partition.value});
  put(packer, "created_ms", static_cast<std::uint64_t>(queue.created_ms.value));
  put(packer, "version", queue.version);
  packer.raw(settings.packed);
}

}  // namespace

std::string encode_queue_info(const QueueInfo& queue) {
  std::string out;
  Packer packer(out);
  put_info(packer, queue);
  return out;
}

std::string encode_queue_status(const QueueInfo& queue, const QueueStatus& status) {
  std::string out;
  Packer packer(out);
  put_info(packer, queue, 7);
  put(packer, "worker", std::string_view(status.worker));
  put(packer, "ready", status.ready);
  put(packer, "leased", status.leased);
  put(packer, "delayed", status.delayed);
  put(packer, "dead", status.dead);
  put(packer, "bytes", status.bytes);
  put(packer, "waiting", status.waiting);
  return out;
}

std::string encode_redriven(const RedriveResult& result) {
  std::string out;
  Packer packer(out);
  packer.map(result.next.empty() ? 2 : 3);
  put(packer, "revived", result.revived);
  put(packer, "moved", result.moved);
  if (!result.next.empty()) put(packer, "next", std::string_view(result.next));
  return out;
}

std::string encode_queue_list(const std::vector<const QueueInfo*>& queues) {
  std::string out;
  Packer packer(out);
  packer.array(queues.size());
  for (const QueueInfo* queue : queues) {
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
