// The core of one partition: gives LSNs, knows its producers, holds its queues.
#pragma once

#include <map>
#include <string_view>
#include <vector>

#include "protocol/payload.hpp"
#include "storage/producers.hpp"
#include "storage/queue.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

// Knows no socket, disk, thread or clock. Not thread-safe.
//
// I1  An LSN is given once, also across restarts: `next` is written with the records that use it.
// I2  What waits for a commit is forgotten by roll_back(); then LSNs go on behind the last committed one.
class Partition {
 public:
  explicit Partition(PartitionId id) : id_(id), producers_(id) {}

  // From the store, at start.
  void restore(const PartitionState& state);
  void restore_message(Lsn lsn, const RecordHeader& header, std::uint32_t deliveries);

  // This worker leads from now on, in a term that must be higher than any before (rule 4 of replication).
  // Errors: internal, when it is not: metad has gone back in time.
  Result<void> lead(Epoch epoch, WriteBatch& writes);
  bool leads() const { return leading_; }
  void resign() { leading_ = false; }

  // Adds one request's messages to `writes`, all of them or, when a producer's sequence says so, only the new ones.
  // REQUIRES: no item has an error. The views in `writes` are those of the items.
  struct Appended {
    Lsn first;               // of the first new message
    std::size_t duplicates;  // at the start of the request: sent before
  };
  struct Sender {
    QueueId queue;
    std::string_view producer;  // empty: anonymous
    Sequence sequence;
  };
  Result<Appended> append(const Sender& sender, const std::vector<const SendItem*>& items, TimeMs wall_now,
                          WriteBatch& writes);

  void committed(const WriteBatch& writes);
  void roll_back();

  // Receipts of every term that this process has led are good: its leases went on through them.
  bool knows(Epoch epoch) const { return epoch >= first_epoch_ && epoch <= state_.epoch; }

  PartitionId id() const { return id_; }
  Epoch epoch() const { return state_.epoch; }
  Producers& producers() { return producers_; }
  Queue& queue(QueueId id) { return queues_[id]; }
  Queue* find_queue(QueueId id);
  std::map<QueueId, Queue>& queues() { return queues_; }

 private:
  PartitionId id_;
  PartitionState state_{{}, Lsn{1}};  // with what waits for its commit
  Lsn committed_next_{1};
  Epoch first_epoch_{UINT32_MAX};  // the first term of this process
  bool leading_ = false;
  Producers producers_;
  std::map<QueueId, Queue> queues_;
};

}  // namespace dmq
