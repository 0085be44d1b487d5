// Encoding of a queue's statistics; docs/protocol.md lists each key.
#include "protocol/queue_stats.hpp"

#include "protocol/packing.hpp"

namespace dmq {
namespace {

void put(Packer& packer, std::string_view key, std::uint64_t value) {
  packer.text(key);
  packer.number(value);
}

// Counts, and the time that they are of.
void put_counts(Packer& packer, std::string_view key, std::string_view time_key, std::int64_t time,
                const TrafficCounts& counts) {
  packer.text(key);
  packer.map(1 + kTrafficKinds);
  put(packer, time_key, static_cast<std::uint64_t>(time));
  for (std::size_t i = 0; i < kTrafficKinds; ++i) put(packer, kTrafficNames[i], counts[i]);
}

}  // namespace

std::string encode_queue_stats(const QueueStats& stats) {
  std::string out;
  Packer packer(out);
  packer.map(11 + (stats.oldest_ms.value != 0 ? 1 : 0));
  packer.text("name");
  packer.text(stats.name);
  packer.text("worker");
  packer.text(stats.worker);
  put(packer, "ready", stats.ready);
  put(packer, "leased", stats.leased);
  put(packer, "delayed", stats.delayed);
  put(packer, "dead", stats.dead);
  put(packer, "bytes", stats.bytes);
  put(packer, "waiting", stats.waiting);
  put(packer, "at_ms", static_cast<std::uint64_t>(stats.at_ms.value));
  if (stats.oldest_ms.value != 0) put(packer, "oldest_ms", static_cast<std::uint64_t>(stats.oldest_ms.value));
  put_counts(packer, "recent", "window_ms", stats.recent_ms.value, stats.recent);
  put_counts(packer, "totals", "since_ms", stats.since_ms.value, stats.totals);
  return out;
}

}  // namespace dmq
