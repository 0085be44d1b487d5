// What one transaction writes: gathered by the cores during a turn, applied by the log.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "storage/epoch_table.hpp"
#include "storage/record.hpp"
#include "storage/return_state.hpp"

namespace dmq {

// A record to append. The views belong to frames or strings that the turn keeps until it is committed.
struct PutRecord {
  RecordPlace place;
  RecordView record;
  std::string_view encoded;  // the whole record, where it exists already; then it is written as it is
};

// What a partition must still know after a restart, besides its records.
struct PartitionState {
  Epoch epoch;              // the last term that was led or followed here: never led again
  Lsn next_lsn{1};          // the log's end
  Lsn applied{1};           // end of what is applied: below, the log is what lives; from here on it is dense
  Lsn trimmed{1};           // end of what has lost its control records
  bool rebuilding = false;  // a snapshot is under way: neither the old nor the new content is whole
  bool operator==(const PartitionState&) const = default;
};

struct ProducerState {
  Sequence last;   // the last sequence that is committed
  TimeMs used_ms;  // since 1970; idle producers are forgotten
  Lsn place;       // all of its messages below are counted, none from here on
  bool operator==(const ProducerState&) const = default;
};

// A queue in one partition.
struct QueuePlace {
  PartitionId partition;
  QueueId queue;
  auto operator<=>(const QueuePlace&) const = default;
};

// Producers count per queue, so that a queue can move without the others.
using ProducerKey = std::tuple<PartitionId, QueueId, std::string>;

// The log applies the parts in this order. Later entries of the maps replace earlier ones: a row is written once per
// transaction.
struct WriteBatch {
  std::vector<RecordPlace> truncations;  // this record and all behind it go
  std::vector<RecordPlace> removals;     // records that are done for good
  std::vector<PutRecord> records;
  std::vector<ProducerKey> forgotten_producers;
  std::map<RecordPlace, ReturnState> returns;  // empty: forget it
  std::map<PartitionId, PartitionState> partitions;
  std::map<PartitionId, EpochTable> epochs;
  std::map<ProducerKey, ProducerState> producers;
  // A dropped queue's messages below this LSN are to be removed; 0: they are.
  std::map<QueuePlace, Lsn> dropped;
  std::set<PartitionId> recounts;  // their records were replaced, damaged ones too: they are counted anew

  // What an older batch that could not be written was to write comes first.
  void prepend(WriteBatch&& older);

  bool empty() const {
    return truncations.empty() && removals.empty() && records.empty() && forgotten_producers.empty() &&
           returns.empty() && partitions.empty() && epochs.empty() && producers.empty() && dropped.empty() &&
           recounts.empty();
  }
};

}  // namespace dmq
