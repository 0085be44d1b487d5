// What one transaction writes: gathered by the cores during a turn, applied by the log.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "storage/record.hpp"

namespace dmq {

// A message to append. The views belong to the request's frames, which the turn keeps until it is committed.
struct PutMessage {
  RecordPlace place;
  RecordHeader header;
  std::string_view attributes;
  std::string_view body;
};

// What a partition must still know after a restart, besides its records.
struct PartitionState {
  Epoch epoch;   // the last term that was led here: never served again
  Lsn next_lsn;  // never given twice
  bool operator==(const PartitionState&) const = default;
};

struct ProducerState {
  Sequence last;   // the last sequence that is committed
  TimeMs used_ms;  // since 1970; idle producers are forgotten
  bool operator==(const ProducerState&) const = default;
};

// Producers count per queue, so that a queue can move without the others.
using ProducerKey = std::tuple<PartitionId, QueueId, std::string>;

// Later entries of the maps replace earlier ones: a row is written once per transaction.
struct WriteBatch {
  std::vector<PutMessage> messages;
  std::vector<RecordPlace> removals;                // messages that are done for good
  std::map<RecordPlace, std::uint32_t> deliveries;  // how often a message that came back was handed out
  std::map<PartitionId, PartitionState> partitions;
  std::map<ProducerKey, ProducerState> producers;
  std::vector<ProducerKey> forgotten_producers;

  bool empty() const {
    return messages.empty() && removals.empty() && deliveries.empty() && partitions.empty() && producers.empty() &&
           forgotten_producers.empty();
  }
};

}  // namespace dmq
