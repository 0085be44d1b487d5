// The idempotence core of one partition: which sequences of each producer were taken.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/replication.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

inline constexpr std::size_t kProducersMax = 250'000;  // of one partition, all queues together, dedup ids among them

// A (producer, sequence) is committed at most once. A request is judged against what is applied and against what is
// in the log behind it. Every replica keeps the same table, from the records alone. Not thread-safe.
class Producers {
 public:
  struct Entry {
    ProducerState applied;  // may be ahead of what is applied here, as another replica told it
    Sequence logged;        // the last sequence in the log, applied or not; 0: the log ends with its being forgotten
    std::uint32_t waiting = 0;  // its messages that are logged and not applied
  };
  // So that a name need not be copied to be looked up.
  struct ByQueueAndName {
    using is_transparent = void;
    template <class Key, class Other>
    bool operator()(const Key& left, const Other& right) const {
      return std::pair<QueueId, std::string_view>(left) < std::pair<QueueId, std::string_view>(right);
    }
  };
  using Table = std::map<std::pair<QueueId, std::string>, Entry, ByQueueAndName>;
  using Row = Table::value_type;  // stays where it is while something of it is logged and not applied

  explicit Producers(PartitionId partition) : partition_(partition) {}

  // From the store or a snapshot.
  void restore(const ProducerKey& key, const ProducerState& state);
  // What another replica has applied; it may be ahead of the log here. The row as it is now. roll_back() follows, since
  // what is logged here may be counted in it.
  const Row& catch_up(QueueId queue, const std::string& producer, const ProducerState& state);
  // Those of whom something that is applied may stand at `first` or behind.
  std::vector<SnapshotProducer> since(Lsn first) const;
  void clear() { table_.clear(); }

  // A request of `count` messages from `first` on, at the leader: how many at its start were taken before (0 to
  // count), and the producer's row. Errors: out_of_sequence: the request does not follow the producer's last
  // sequence, or the producer is not known and does not begin at 1; unavailable: too many producers.
  struct Admitted {
    std::size_t duplicates;
    Row* row;
  };
  Result<Admitted> admit(QueueId queue, std::string_view producer, Sequence first, std::size_t count);
  // How many at the start of such a request are in the log already.
  std::size_t duplicates(QueueId queue, std::string_view producer, Sequence first, std::size_t count) const;
  // For messages whose sequences are the broker's own: the row to count them in. Of those that another queue moves here
  // they grow with gaps, and all up to the row's `logged` are here already; of those with a dedup id they are counted.
  Row& row_of(QueueId queue, const std::string& producer) { return *table_.try_emplace({queue, producer}).first; }
  const Row* find(QueueId queue, std::string_view producer) const;  // null: nothing is known of it
  // A message with this sequence is in the log, at any replica.
  Row* logged(QueueId queue, std::string_view producer, Sequence sequence, Lsn lsn);
  static void logged(Row& row, Sequence sequence, Lsn lsn) {
    if (lsn >= row.second.applied.place) row.second.logged = std::max(row.second.logged, sequence);
    ++row.second.waiting;
  }
  // So is a record that forgets it, or all that sent to a queue: what is logged behind it counts anew.
  void logged_forget(QueueId queue, const std::string& producer, Lsn lsn);
  void logged_forget_queue(QueueId queue, Lsn lsn);
  // It is committed.
  static void apply(Row& row, Sequence sequence, TimeMs sent_ms, Lsn lsn);

  // The log was cut: only what is applied counts, and what logged() tells again. Then prune() drops who has nothing.
  void roll_back();
  void prune();

  // Which of the next so many rows, one round after the other, may be forgotten: nothing of them waits, and `is_over`
  // says so. By queue.
  std::map<QueueId, std::vector<std::string>> idle(std::size_t rows, const std::function<bool(const Row&)>& is_over);
  // As the record at `lsn` says; later messages may begin anew. False: what is known here is from behind it.
  bool forget(QueueId queue, const std::string& producer, Lsn lsn);
  void forget_queue(QueueId queue, Lsn lsn, WriteBatch& writes);  // all that sent to it, and their rows in the store
  void unstore_queue(QueueId queue, WriteBatch& writes) const;    // their rows go from the store

  ProducerKey key_of(const Row& row) const { return {partition_, row.first.first, row.first.second}; }
  const Table& table() const { return table_; }
  std::size_t size() const { return table_.size(); }
  bool has(QueueId queue) const {
    const auto row = of_queue(queue);
    return row != table_.end() && row->first.first == queue;
  }

 private:
  Table::const_iterator of_queue(QueueId queue) const { return table_.lower_bound(std::pair(queue, std::string())); }

  PartitionId partition_;
  Table table_;
  std::pair<QueueId, std::string> idle_from_;  // where idle() goes on
};

}  // namespace dmq
