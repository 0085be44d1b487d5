// What must hold in a simulated cluster: knows every message and every committed record, and looks at all replicas.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/node.hpp"

namespace dmq::sim {

using MessageIndex = std::size_t;

// The committed log of each partition is learned from the first replica that has it committed; from then on every
// replica must have the same, for all time. What is wrong is thrown as a Violation.
class Checker {
 public:
  Checker(World& world, const Metad& metad, const std::vector<std::unique_ptr<Node>>& nodes)
      : world_(world), metad_(metad), nodes_(nodes) {}

  // --- what clients did and heard ---
  MessageIndex sent(QueueId queue, const std::string& producer);
  std::string body_of(MessageIndex message) const;
  void confirmed(MessageIndex message, std::optional<Lsn> lsn);  // no LSN: as a duplicate
  // `sent`: the world's mark when the worker let it go.
  MessageIndex delivered(std::string_view body, const Receipt& receipt, std::uint64_t sent);
  void ack_asked(MessageIndex message) { ++messages_[message].acks_open; }
  void ack_done(MessageIndex message, const Receipt& receipt);
  void ack_refused(MessageIndex message) { --messages_[message].acks_open; }  // it did nothing, for sure
  void queue_deleted(QueueId queue) { deleted_.insert(queue); }

  // --- what the cluster did ---
  void observe(Node& node);
  void partition_settled(PartitionId id, Epoch epoch) { logs_[id].first_epoch = epoch; }
  void catalog_changed(const CatalogChange& change);
  // Everyone in sync or eligible has all that is committed and not settled.
  void check_copies(const PartitionInfo& info) const;
  void wiped(const Node& node);  // is about to be
  bool any_wiped() const { return !wiped_.empty(); }

  // --- at the end ---
  void check_nothing_lost() const;
  std::uint64_t committed() const { return committed_; }
  std::size_t unsettled() const;  // confirmed messages of which no ack is known

 private:
  struct Message {
    QueueId queue;
    bool idempotent = false;
    bool confirmed = false;
    std::optional<RecordPlace> place;  // once committed
    int acks_open = 0;                 // asked, and the outcome is not known
    bool acked = false;
    std::uint64_t acked_mark = 0;
    Epoch acked_epoch;
    bool may_be_gone() const { return acked || acks_open > 0; }
  };
  // A committed record.
  struct Slot {
    std::string bytes;  // empty: a record that only its effect tells of
    std::optional<MessageIndex> message;
    bool settled = false;  // by a committed record
    std::uint32_t deliveries = 0;
  };
  struct Log {
    Epoch first_epoch{UINT32_MAX};  // before it the partition held nothing, and metad gave it away at will
    std::vector<Slot> slots{1};     // index is the LSN
    std::map<Epoch, std::pair<Endpoint, SessionId>> leaders;
    std::map<PartitionVersion, std::uint8_t> min_in_sync;
  };
  struct Seen {
    std::uint64_t life = 0;
    std::uint64_t generation = 0;
    Lsn applied{1};
    Epoch epoch;
    PartitionVersion version;  // of the set, at the last look
  };

  void check_role(const Node& node, const Partition& partition, Seen& seen);
  void learn(const Node& node, const Partition& partition, Seen& seen);
  Slot read_slot(const Node& node, RecordPlace place);
  void learn_control(RecordPlace place, const RecordView& record);
  void check_copies_enough(RecordPlace place, const Slot& slot, std::size_t least) const;
  std::size_t least_in_sync(PartitionId id, const Seen& seen, PartitionVersion now) const;
  void compare(const Node& node, const Partition& partition, Seen& seen);
  bool may_be_absent(const Slot& slot) const;
  std::optional<MessageIndex> index_of(std::string_view body) const;

  World& world_;
  const Metad& metad_;
  const std::vector<std::unique_ptr<Node>>& nodes_;
  std::vector<Message> messages_;
  std::set<QueueId> deleted_;
  std::set<Endpoint> wiped_;                                     // and not registered since
  std::map<std::pair<Endpoint, RecordPlace>, std::string> had_;  // what was on disks that were wiped
  std::map<PartitionId, Log> logs_;
  std::map<std::pair<Endpoint, PartitionId>, Seen> seen_;
  std::uint64_t committed_ = 0;
  std::uint64_t observed_ = 0;
};

}  // namespace dmq::sim
