// Encoding of descriptions; docs/protocol.md lists each key.
#include "protocol/queue_info.hpp"

#include <array>

#include "protocol/catalog_records.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"
#include "protocol/queue_status_codec.hpp"

namespace dmq {
namespace {

constexpr std::array<std::string_view, 21> kFeatures{"headers",         "idempotent_producer",
                                                     "nack_delay",      "priority",
                                                     "delay",           "ttl",
                                                     "labels",          "queue_update",
                                                     "retry",           "dead_letter",
                                                     "browse",          "purge",
                                                     "queue_stats",     "limits",
                                                     "ack_on_delivery", "ordering_key",
                                                     "dedup_id",        "receive_attempt",
                                                     "consumer",        "push",
                                                     "partitions"};
constexpr std::size_t kInfoKeys = 5;  // and the settings

// The start of a map that has `more` keys besides.
void put_info(Packer& packer, const QueueInfo& queue, std::size_t more = 0) {
  const SettingPairs settings = pack_setting_pairs(queue.settings);
  packer.map(kInfoKeys + settings.count + more);
  pack_text(packer, "name", queue.name);
  pack_text(packer, "id", std::to_string(queue.id.value));
  pack_number(packer, "partition", queue.partition.value);
  pack_number(packer, "created_ms", static_cast<std::uint64_t>(queue.created_ms.value));
  pack_number(packer, "version", queue.version);
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
  put_info(packer, queue, kStatusPairs);
  pack_status(packer, status);
  return out;
}

std::string encode_redriven(const RedriveResult& result) {
  std::string out;
  Packer packer(out);
  packer.map(result.next.empty() ? 2 : 3);
  pack_number(packer, "revived", result.revived);
  pack_number(packer, "moved", result.moved);
  if (!result.next.empty()) pack_text(packer, "next", result.next);
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
  pack_text(packer, "server", "dmq");
  pack_text(packer, "version", "0.1.0");
  packer.text("versions");
  packer.array(1);
  packer.number(kProtocolVersion);
  packer.text("features");
  packer.array(kFeatures.size());
  for (const std::string_view feature : kFeatures) packer.text(feature);
  pack_text(packer, "sync", info.sync);
  pack_number(packer, "heartbeat_ms", static_cast<std::uint64_t>(kHeartbeatMs));
  if (!info.admin.empty()) pack_text(packer, "admin", info.admin);
  packer.text("limits");
  packer.map(8);
  pack_number(packer, "queue_name_bytes", kQueueNameBytesMax);
  pack_number(packer, "header_bytes", kHeaderBytesMax);
  pack_number(packer, "message_bytes", kMessageBytesMax);
  pack_number(packer, "request_bytes", kRequestBytesMax);
  pack_number(packer, "batch_messages", kBatchMessagesMax);
  pack_number(packer, "message_header_bytes", kMessageHeaderBytesMax);
  pack_number(packer, "wait_ms", static_cast<std::uint64_t>(kWaitMsMax));
  pack_number(packer, "lease_ms", static_cast<std::uint64_t>(kLeaseMsMax));
  return out;
}

}  // namespace dmq
