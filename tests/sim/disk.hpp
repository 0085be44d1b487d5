// The store of a simulated worker: all that the log in LMDB keeps, in memory, with a disk's faults.
#pragma once

#include <map>
#include <string>

#include "storage/record_source.hpp"
#include "storage/write_batch.hpp"

namespace dmq::sim {

// A commit writes all or nothing, in the log's order: effects, then writes; in each truncations, removals, records,
// side rows.
class Disk : public RecordSource {
 public:
  Result<RecordView> read(RecordPlace place) override;
  Result<void> scan(RecordPlace from, const Visit& visit) override;

  void commit(const WriteBatch& effects, const WriteBatch& writes);
  void wipe();
  void flip(RecordPlace place, std::size_t bit);  // of a record that is there

  const std::string* find(RecordPlace place) const;

  std::map<RecordPlace, std::string> records;
  std::map<PartitionId, PartitionState> partitions;
  std::map<PartitionId, EpochTable> epochs;
  std::map<RecordPlace, ReturnState> returns;
  std::map<ProducerKey, ProducerState> producers;
  std::map<QueuePlace, Lsn> dropped;
  std::uint64_t store_id = 1;

 private:
  void write(const WriteBatch& batch);
};

}  // namespace dmq::sim
