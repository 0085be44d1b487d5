// The idempotence core of one partition: which sequences of each producer were taken.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/write_batch.hpp"

namespace dmq {

inline constexpr std::size_t kProducersMax = 100'000;  // of one partition, all queues together

// A (producer, sequence) is committed at most once. A request is judged against what is committed and against what
// waits for its commit; when that commit fails, roll_back() forgets the waiting part. Not thread-safe.
class Producers {
 public:
  explicit Producers(PartitionId partition) : partition_(partition) {}

  // From the store, at start.
  void restore(const ProducerKey& key, const ProducerState& state);

  // A request of `count` messages from `first` on. Returns how many at its start were taken before (0 to count), or
  // out_of_sequence: the request does not follow the producer's last sequence, or the producer is not known and
  // does not begin at 1; or unavailable: too many producers. The rest counts as waiting for its commit.
  Result<std::size_t> admit(QueueId queue, std::string_view producer, Sequence first, std::size_t count,
                            TimeMs wall_now, WriteBatch& writes);

  // What was written in a batch that is committed now.
  void committed(const WriteBatch& writes);
  void roll_back();

  // Forgets producers unused since `before`, at most `most` at a time, unless something of theirs waits.
  void forget_idle(TimeMs before, std::size_t most, WriteBatch& writes);
  void forget_queue(QueueId queue, WriteBatch& writes);

  std::size_t size() const { return table_.size(); }

 private:
  struct Entry {
    ProducerState committed;
    Sequence waiting;  // the last sequence, commits under way included
  };
  using Table = std::map<std::pair<QueueId, std::string>, Entry, std::less<>>;
  ProducerKey key_of(const Table::value_type& row) const { return {partition_, row.first.first, row.first.second}; }

  PartitionId partition_;
  Table table_;
};

}  // namespace dmq
