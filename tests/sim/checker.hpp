// What must hold in a simulated cluster: knows every message and every committed record, and looks at all replicas.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "protocol/payload.hpp"
#include "tests/sim/node.hpp"

namespace dmq::sim {

using MessageIndex = std::size_t;

inline std::string at(RecordPlace place) {
  return " (partition " + std::to_string(place.partition.value) + ", LSN " + std::to_string(place.lsn.value) + ")";
}

// The committed log of each partition is learned from the first replica that has it committed; from then on every
// replica must have the same, for all time. What is wrong is thrown as a Violation.
class Checker {
 public:
  Checker(World& world, const Metad& metad, const std::vector<std::unique_ptr<Node>>& nodes)
      : world_(world), metad_(metad), nodes_(nodes) {}

  // --- what clients did and heard ---
  // `by_id`: it has a dedup id, that no other has.
  MessageIndex sent(QueueId queue, const std::string& producer, const MessageOptions& options, std::string key,
                    bool by_id);
  std::string dedup_id_of(MessageIndex message) const {
    return messages_[message].by_id ? "d" + std::to_string(message) : "";
  }
  const MessageOptions& options_of(MessageIndex message) const { return messages_[message].options; }
  const std::string& key_of(MessageIndex message) const { return messages_[message].key; }
  std::string body_of(MessageIndex message) const;
  void confirmed(MessageIndex message, std::optional<Lsn> lsn);  // no LSN: as a duplicate
  // `sent`: when the worker let it go. `lease_ms`: at the least; without one it is acked by that. `again`: perhaps
  // under a lease that another reply tells too.
  MessageIndex delivered(const Delivery& delivery, const Receipt& receipt, std::optional<std::int64_t> lease_ms,
                         Moment sent, bool again = false);
  void lease_changed(MessageIndex message, const Receipt& receipt);  // given back, or with another end
  void ack_asked(MessageIndex message) { ++messages_[message].acks_open; }
  void ack_done(MessageIndex message, const Receipt& receipt);
  void ack_refused(MessageIndex message) { --messages_[message].acks_open; }  // it did nothing, for sure
  void queue_deleted(QueueId queue) { deleted_.insert(queue); }
  void purge_asked(QueueId queue) { purges_.try_emplace(queue); }
  void purge_done(QueueId queue, std::uint64_t asked_mark);  // what was confirmed before it was asked is gone for good
  void set_producer_idle(DurationMs idle) { producer_idle_ = idle; }
  void set_clocks_jump() { clocks_jump_ = true; }
  void set_dead_letters() { dead_letters_ = true; }
  void may_lose(QueueId queue) { lossy_.insert(queue); }  // by its settings, or its consumers' wish
  void set_messages_max(QueueId queue, std::uint64_t most) { messages_max_[queue] = most; }  // in one partition
  // A router that has not heard of it knows the queue in `first` only.
  void queue_grows(QueueId queue, PartitionId first) { grown_.emplace(queue, first); }
  void set_dedup(QueueId queue, const DedupPolicy& dedup) { dedup_[queue] = dedup; }

  // --- what the cluster did ---
  void observe(Node& node);
  void partition_settled(PartitionId id, Epoch epoch) { logs_[id].first_epoch = epoch; }
  void catalog_changed(const CatalogChange& change);
  // Everyone in sync or eligible has all that is committed and not settled.
  void check_copies(const PartitionInfo& info) const;
  void wiped(const Node& node);  // is about to be
  bool any_wiped() const { return !wiped_.empty(); }
  // A bit of the record on this disk is another than `before`.
  void flipped(const Node& node, RecordPlace place, const std::string& before);
  std::optional<Endpoint> damaged();  // whose disk has flipped bits
  // A record as it was written, whatever became of its bits.
  const std::string* written(const Node& node, const Disk& disk, RecordPlace place) const;

  // --- at the end ---
  void check_nothing_lost() const;
  std::uint64_t committed() const { return committed_; }
  std::size_t unsettled() const;  // confirmed messages of which no ack is known

 private:
  // A lease that reached a client.
  struct Hold {
    Epoch epoch;
    LeaseNumber number;
    std::int64_t from = 0;
    std::int64_t until = 0;  // at the least
    std::uint64_t deliveries = 0;
    auto place() const { return std::pair(epoch, number); }
  };
  struct Message {
    QueueId queue;
    MessageOptions options;
    std::string key;  // empty: none
    bool idempotent = false;
    bool by_id = false;
    bool confirmed = false;
    std::optional<RecordPlace> place;  // once committed; the last one
    std::optional<RecordPlace> first;  // where it was sent to
    QueueId sent_to;
    std::map<PartitionId, Epoch> left;            // in these terms and later ones it is no longer where it was
    std::map<RecordPlace, std::uint64_t> before;  // where it was until this mark
    int acks_open = 0;                            // asked, and the outcome is not known
    bool acked = false;
    bool given_away = false;  // acked on delivery
    std::uint64_t acked_mark = 0;
    Epoch acked_epoch;
    std::uint64_t confirmed_mark = 0;
    std::set<QueueId> visited;       // other queues where it came to
    std::uint64_t arrived_mark = 0;  // in the queue where it is, from another one
    bool purged = false;             // a purge was confirmed that was asked behind its confirmation
    std::uint64_t purged_mark = 0;
    Epoch purged_epoch;
    TimeMs sent_ms;  // as the log says, like the next two
    TimeMs ready_ms;
    TimeMs expires_ms;
    bool repeated = false;  // its producer or dedup id was forgotten, so it is in the log again
    std::vector<Hold> holds;
  };
  // A committed record.
  struct Slot {
    RecordPlace place;
    QueueId queue;      // of a message
    QueueId leaves_to;  // by a committed record; 0: it does not
    std::string bytes;  // empty: a record that only its effect tells of
    std::optional<MessageIndex> message;
    TimeMs expires_ms;
    Lsn settled{UINT64_MAX};  // by the committed record there
    std::uint32_t deliveries = 0;
    OrderingKey key;
    std::optional<LeaseId> lease;  // that is in the log and has not ended
    bool out_of_order = false;     // it was dead
    bool is_settled() const { return settled.value != UINT64_MAX; }
  };
  struct Log {
    Epoch first_epoch{UINT32_MAX};  // before it the partition held nothing, and metad gave it away at will
    std::vector<Slot> slots{1};     // index is the LSN
    bool incomplete = false;        // some control records were never seen
    std::map<std::pair<QueueId, OrderingKey>, Lsn> out;  // by leases that are in the log
    std::map<Epoch, std::pair<Endpoint, SessionId>> leaders;
    std::map<PartitionVersion, std::uint8_t> min_in_sync;
  };
  struct Seen {
    std::uint64_t life = 0;
    std::uint64_t generation = 0;
    Lsn applied{1};
    Epoch epoch;
    PartitionVersion version;  // of the set, at the last look
    Epoch led;                 // the last term that it was the leader of, in the session behind it
    SessionId session;
  };

  void check_role(const Node& node, const Partition& partition, Log& log, Seen& seen);
  void learn(const Node& node, const Partition& partition, Log& log, Seen& seen);
  Slot read_slot(const Node& node, RecordPlace place);
  void learn_control(RecordPlace place, const RecordView& record);
  void learn_purge(QueueId queue, RecordPlace place, bool committed);
  void repeated(Message& message, RecordPlace place, TimeMs sent_ms) const;
  bool may_be_again(const Message& message, TimeMs sent_ms) const;
  void arrived(Message& message, RecordPlace place, const RecordHeader& header);
  void learn_lease(Slot& slot, const LeasedMessage& leased, Log& log);
  void check_key(const Message& message, MessageIndex index, const Receipt& receipt, const Hold& hold);
  void learn_return(Slot& slot, const ReturnedMessage& returned, Epoch epoch);
  void check_options(const Message& message, RecordPlace place, const RecordHeader& header) const;
  bool is_expired(const Message& message) const;
  bool may_be_gone(const Message& message) const;
  bool is_purged(const Message& message) const;
  bool is_purged(QueueId queue, RecordPlace place) const;
  void learn_key(QueueId queue, const std::string& key, RecordPlace place);
  void check_live(const Node& node, const Partition& partition) const;
  void check_limit(const Log& log, QueueId queue) const;
  bool must_have(const PartitionInfo& info, const Node& node) const;
  [[noreturn]] static void lacks(const Node& node, RecordPlace place);
  void check_lease(const Hold& earlier, const Hold& later, const std::string& which) const;
  void check_copies_enough(RecordPlace place, const Slot& slot, std::size_t least) const;
  static std::size_t least_in_sync(const Log& log, PartitionVersion before, PartitionVersion now);
  void compare(const Node& node, const Partition& partition, const Log& log, Seen& seen);
  bool may_be_absent(const Slot& slot) const;
  std::optional<MessageIndex> index_of(std::string_view body) const;
  void remember(const Node& node);

  World& world_;
  const Metad& metad_;
  const std::vector<std::unique_ptr<Node>>& nodes_;
  std::vector<Message> messages_;
  std::set<QueueId> deleted_;
  std::set<QueueId> lossy_;
  std::map<QueueId, std::uint64_t> messages_max_;
  std::map<QueueId, DedupPolicy> dedup_;  // others have the default
  // That were asked for: messages of the queue before this place of the partition are gone.
  std::map<QueueId, std::map<PartitionId, Lsn>> purges_;
  std::map<std::pair<QueueId, std::string>, PartitionId> key_places_;
  std::map<QueueId, PartitionId> grown_;
  std::set<Endpoint> wiped_;                                     // and not registered since
  std::set<Endpoint> harmed_;                                    // bits on its disk were flipped
  std::map<std::pair<Endpoint, RecordPlace>, std::string> had_;  // what was on disks that were wiped or harmed
  struct Flip {
    std::string before;
    std::set<std::string> after;  // each time
  };
  std::map<std::pair<Endpoint, RecordPlace>, Flip> flips_;
  DurationMs producer_idle_{INT64_MAX};
  bool flipped_ = false;
  bool clocks_jump_ = false;
  bool dead_letters_ = false;
  std::map<PartitionId, Log> logs_;
  std::map<std::pair<Endpoint, PartitionId>, Seen> seen_;
  std::uint64_t committed_ = 0;
  std::uint64_t observed_ = 0;
};

}  // namespace dmq::sim
