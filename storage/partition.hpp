// The core of one partition: its log's end, what of it is applied, its producers and queues.
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "protocol/payload.hpp"
#include "protocol/queue_settings.hpp"
#include "storage/control.hpp"
#include "storage/producers.hpp"
#include "storage/queue.hpp"
#include "storage/replica.hpp"
#include "storage/turn.hpp"

namespace dmq {

// A record that is in the log and not yet applied.
struct LogEntry {
  Lsn lsn;
  RecordType type = RecordType::kMessage;
  bool effect_stored = false;  // the transaction that appended it wrote its effect too: nobody else needs the log
  QueueId queue;
  std::uint32_t bytes = 0;
  Sequence sequence;
  TimeMs sent_ms;
  Producers::Row* producer = nullptr;    // null: anonymous
  std::unique_ptr<ControlBody> control;  // null: a message
  // Of a message, as in its record; since 1970.
  Priority priority = 0;
  TimeMs ready_ms;
  TimeMs expires_ms;
  OrderingKey key;
};

struct PartitionLimits {
  std::uint64_t controls_kept_max = 100'000;      // LSNs behind what is applied, for followers that are away
  std::size_t fetch_bytes_max = 4 << 20;          // of one answer to a follower, but at least one record
  std::size_t snapshot_records_max = 5'000;       // of one part: what one transaction takes well
  std::uint64_t turn_fetch_bytes_max = 16 << 20;  // gathered for the next transaction; then a follower waits for it
};

// Knows no socket, disk, thread or clock. Not thread-safe. A replica is a log and what its committed records made of
// queues and producers; leader and followers append and apply in the same way, and any new kind of state is a new
// kind of record with its case in apply().
//
//            append                 commit (all in-sync replicas have it)        every replica has it
//   (none) ----------> in the tail -------------------------------------> applied --------------------> trimmed
//                          | truncate, roll_back                (effects are written)   (control records go)
//                          '-> (none)
//
// I1  An LSN is given once in a term, also across restarts: `next_lsn` is written with the records that use it.
// I2  Below `applied` the log holds live messages, and control records from `trimmed` on; behind it, it is dense.
class Partition {
 public:
  // `stored` counts the bytes of all partitions of a worker and outlives them.
  Partition(PartitionId id, std::string worker, PartitionLimits limits, std::uint64_t& stored);

  // From the store, at start: in this order, messages and entries by LSN.
  void restore(const PartitionState& state, EpochTable epochs);
  void restore_dropped(QueueId queue, Lsn below) { dropped_[queue].below = below; }
  void restore_message(Lsn lsn, const RecordHeader& header, const ReturnState& returned, const Now& now);
  void restore_control(Lsn lsn) { controls_.push_back(lsn); }     // applied, not trimmed
  Result<void> restore_entry(Lsn lsn, const RecordView& record);  // not applied. Errors: internal: damaged
  void restore_damaged(Lsn lsn);                                  // neither of them can be read
  void restore_miscounted();                                      // some vanished, came back, or lie in wrong places

  // This worker leads, since replica().follow() said so. Errors: internal: metad has gone back in time.
  Result<void> lead(Turn& turn, const Now& now);
  void resign();
  Result<void> note_epoch();

  // Appends one request's messages but those that are `repeated`: all of them or, when a producer's sequence says so,
  // only the new ones. REQUIRES: replica().takes_appends(), no item has an error or, where there is a producer, a dedup
  // id; the items' views live until the turn is over.
  struct Sender {
    QueueId queue;
    std::string_view producer;  // empty: anonymous
    Sequence sequence;
    DurationMs delay;  // of messages that do not say
    DurationMs ttl;    // also; 0: they do not expire
    DedupPolicy dedup;
  };
  // Which messages of a request are not taken, since the queue has or had one with their dedup id, or since an earlier
  // one of the request has it: their places in it, growing. Errors: unavailable: no room for more ids.
  Result<std::vector<std::size_t>> repeated(const Sender& sender, const std::vector<const SendItem*>& items,
                                            const Now& now) const;
  struct Appended {
    Lsn first;               // of the first new message
    std::size_t duplicates;  // at the start of the request: sent before
  };
  Result<Appended> append(const Sender& sender, const std::vector<const SendItem*>& items,
                          const std::vector<std::size_t>& repeated, const Now& now, Turn& turn);
  // Messages that another queue gave up, all from one queue, by growing marks; those that are here already are left
  // out. Views live until the turn is over.
  struct Moved {
    std::uint64_t mark;
    Priority priority;
    OrderingKey key;
    std::string attributes;
    std::string_view body;
  };
  void append_moved(QueueId queue, const std::string& producer, std::vector<Moved> messages, const Now& now,
                    Turn& turn);
  // What is in a queue when all that is logged is applied, without what is on its way to another queue. O(the tail)
  struct Load {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  // of what is on its way too
    bool moving = false;      // something is
  };
  Load load(QueueId queue) const;
  // What was decided about messages of a queue, or about its producers.
  void append_control(RecordType type, QueueId queue, ControlBody body, const Now& now, Turn& turn);
  bool is_present(const Producers::Row& row) const;  // the last message with a dedup id is in its queue
  void forget_producers(const std::function<bool(const Producers::Row&)>& is_over, const Now& now, Turn& turn);

  // A record of the leader's, as it is. Errors: internal, when it is damaged.
  Result<void> append_encoded(Lsn lsn, std::string_view bytes, Turn& turn);
  void learn_producers(const std::vector<SnapshotProducer>& producers, Turn& turn);
  // The end grew without records, or with append_encoded().
  void extend(Turn& turn);
  void truncate(Turn& turn);  // to replica().end()

  // A snapshot takes the place of all that is here, part by part; its messages come by restore_message().
  void begin_snapshot(Turn& turn);
  void extend_snapshot(Turn& turn);  // with a part that is not the last
  void end_snapshot(Turn& turn);
  void start_over(Turn& turn);  // with nothing: what is here cannot be used

  // Rule 13. The record is never delivered and never deleted for it. False: it is known.
  bool note_damage(Lsn lsn, TimeMs now);

  // What became of a turn that appended here.
  void on_disk(const LogEnd& end, TimeMs now, ReplicaEffects& out);
  void roll_back(Turn& next);
  std::uint64_t generation() const { return generation_; }
  // Nothing of an earlier generation is on its way to the disk: what is read there is what is here.
  bool is_settled() const { return written_ == generation_; }
  // What was decided alone and is not known to be on the disk yet.
  bool has_stored_effects() const;
  // Neither is anything else that changes what is there of this partition.
  bool is_at_rest(const Turn& turn) const;

  // Applies what is committed; trims what everybody has.
  struct Applied {
    std::set<QueueId> touched;  // may have more ready messages
    bool dropped = false;       // a queue was, whose messages are to be removed from the store
    bool delivers_now = false;  // and did not before
    // What lives here of a range is to be looked at now, as it is at this place of the log; then advance() goes on.
    struct Compare {
      Lsn at;
      LogRange range;
    };
    std::optional<Compare> compare;
    struct Purged {
      Lsn at;
      std::uint64_t messages;  // that were there
    };
    std::vector<Purged> purged;
    // A newer message with the same dedup id is here, where that is to take its place.
    struct Replaced {
      QueueId queue;
      Lsn lsn;
    };
    std::vector<Replaced> replaced;
  };
  void advance(const Now& now, Turn& turn, Applied& applied);
  void hold_trim(Lsn end, TimeMs until);  // a snapshot stamped with `end` is under way

  // A deleted queue goes by a record of the log, at once from the queues, and then a part at a time from the store.
  bool has(QueueId queue) const { return queues_.contains(queue) || producers_.has(queue); }
  bool is_dropping(QueueId queue) const { return dropping_.contains(queue); }  // the record is not applied yet
  bool is_emptying(QueueId queue) const { return !emptying_.empty() && emptying_.contains(queue); }  // or a purge's
  // A purged queue loses its messages in the same way, and keeps all else.
  bool has_dropped() const { return !dropped_.empty(); }
  bool has_removable() const;  // otherwise they wait for the turn that is being written
  void remove_dropped(std::size_t most, WriteBatch& effects);

  PartitionState state() const;  // for the transaction that ends a turn
  void seal(Turn& turn);         // adds what must be known after a restart
  void sealed_is_written() { --under_way_; }
  void unsealed() {  // it could not be written, and so could none behind it
    stored_epochs_.reset();
    under_way_ = 0;
  }

  // Replies that wait for the replicas.
  std::deque<PendingReply>& waiting() { return waiting_; }
  // Words to other workers, that what they moved here is committed, once all below `end` is.
  struct Taken {
    Lsn end;
    std::string worker;
    PartitionId source;
    TransferredRecords transferred;
  };
  std::deque<Taken>& taken() { return taken_; }

  PartitionId id() const { return id_; }
  Epoch epoch() const { return epoch_; }
  Lsn applied() const { return applied_; }
  Lsn trimmed() const { return trimmed_; }
  bool rebuilding() const { return rebuilding_; }  // not led, and followed only by a snapshot
  Replica& replica() { return replica_; }
  const Replica& replica() const { return replica_; }
  Producers& producers() { return producers_; }
  const Producers& producers() const { return producers_; }
  Queue& queue(QueueId id) { return queues_[id]; }
  Queue* find_queue(QueueId id);
  std::map<QueueId, Queue>& queues() { return queues_; }
  const std::map<QueueId, Queue>& queues() const { return queues_; }

 private:
  // Messages of a queue that was dropped, still in the store.
  struct Dropped {
    Lsn below;  // the record's place
    std::vector<Lsn> lsns;
    std::uint64_t stored = 0;
  };

  RecordHeader header_of(RecordType type, QueueId queue, const Now& now) const;
  void note_end(Turn& turn);
  void log_message(Lsn lsn, const RecordView& record, Producers::Row* producer, const Now& now, Turn& turn);
  void note_emptying(const LogEntry& entry);
  void log_forget(const LogEntry& entry);
  void count_logged();
  void apply(const LogEntry& entry, const Now& now, WriteBatch& effects, Applied& applied);
  static void note_replaced(const LogEntry& entry, Applied& applied);
  void apply_acks(const LogEntry& entry, WriteBatch& effects);
  void apply_returns(const LogEntry& entry, const Now& now, WriteBatch& effects);
  void apply_leases(const LogEntry& entry, const Now& now, WriteBatch& effects);
  ReturnState state_of(const ReturnedMessage& message, Lsn record) const;
  void apply_forget(const LogEntry& entry, WriteBatch& effects);
  void apply_drop(const LogEntry& entry, WriteBatch& effects);
  std::uint64_t take_out_all(const LogEntry& entry, WriteBatch& effects);
  bool is_stored_ahead(QueueId queue, std::initializer_list<RecordType> types) const;
  void store_producers(WriteBatch& effects);
  void store_effect(const LogEntry& entry, WriteBatch& writes);
  bool trim(TimeMs now, WriteBatch& effects);
  void cut_tail(Lsn end);
  void clear(Turn& turn);
  void rebuild(Turn& turn);
  bool is_repeated(const Sender& sender, const Producers::Row& row, const Now& now) const;
  static TimeMs steady_of(TimeMs wall, const Now& now);
  static std::optional<TimeMs> expiry_of(TimeMs expires_ms, const Now& now);

  const PartitionId id_;
  const PartitionLimits limits_;
  std::uint64_t& stored_;
  Replica replica_;
  Epoch epoch_;  // the last term that was led or followed
  std::deque<LogEntry> tail_;
  Lsn applied_{1};
  Lsn trimmed_{1};
  std::deque<Lsn> controls_;  // applied control records that are still in the log
  Lsn trim_held_{UINT64_MAX};
  TimeMs trim_held_until_;
  bool rebuilding_ = false;
  std::set<Lsn> damaged_;  // found since the last snapshot, at most kDamagedMax
  bool replaced_ = false;  // by a snapshot whose last part is not on the disk yet
  bool delivers_ = false;
  std::optional<EpochTable> stored_epochs_;  // none: what is stored is not known
  std::uint64_t generation_ = 0;
  std::uint64_t written_ = 0;    // the generation of the last turn on the disk
  std::uint32_t under_way_ = 0;  // sealed turns whose outcome is not known
  Producers producers_;
  std::vector<const Producers::Row*> applied_producers_;  // during advance(): whose rows are to be written
  std::map<QueueId, Queue> queues_;
  std::set<QueueId> dropping_;       // in the tail
  std::multiset<QueueId> emptying_;  // likewise, and purges
  std::map<QueueId, Dropped> dropped_;
  std::deque<PendingReply> waiting_;
  std::deque<Taken> taken_;
};

}  // namespace dmq
