// What a worker knows about a queue, as pairs of a map; for the codecs of this folder.
#pragma once

#include "protocol/packing.hpp"
#include "protocol/queue_info.hpp"

namespace dmq {

inline constexpr std::size_t kStatusPairs = 7;
inline void pack_status(Packer& packer, const QueueStatus& status) {
  pack_text(packer, "worker", status.worker);
  pack_number(packer, "ready", status.ready);
  pack_number(packer, "leased", status.leased);
  pack_number(packer, "delayed", status.delayed);
  pack_number(packer, "dead", status.dead);
  pack_number(packer, "bytes", status.bytes);
  pack_number(packer, "waiting", status.waiting);
}

}  // namespace dmq
