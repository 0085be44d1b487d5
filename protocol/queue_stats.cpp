// Encoding of a queue's statistics; docs/protocol.md lists each key.
#include "protocol/queue_stats.hpp"

#include "protocol/packing.hpp"
#include "protocol/queue_status_codec.hpp"

namespace dmq {
namespace {

// Counts, and the time that they are of.
void put_counts(Packer& packer, std::string_view key, std::string_view time_key, std::int64_t time,
                const TrafficCounts& counts) {
  packer.text(key);
  packer.map(1 + kTrafficKinds);
  pack_number(packer, time_key, static_cast<std::uint64_t>(time));
  for (std::size_t i = 0; i < kTrafficKinds; ++i) pack_number(packer, kTrafficNames[i], counts[i]);
}

}  // namespace

std::string encode_queue_stats(const QueueStats& stats) {
  std::string out;
  Packer packer(out);
  packer.map(4 + kStatusPairs + (stats.oldest_ms.value != 0 ? 1 : 0));
  pack_text(packer, "name", stats.name);
  pack_status(packer, stats.status);
  pack_number(packer, "at_ms", static_cast<std::uint64_t>(stats.at_ms.value));
  if (stats.oldest_ms.value != 0) pack_number(packer, "oldest_ms", static_cast<std::uint64_t>(stats.oldest_ms.value));
  put_counts(packer, "recent", "window_ms", stats.recent_ms.value, stats.recent);
  put_counts(packer, "totals", "since_ms", stats.since_ms.value, stats.totals);
  return out;
}

}  // namespace dmq
