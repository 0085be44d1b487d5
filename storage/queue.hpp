// The queue core: which messages of one queue are ready, leased, delayed or being settled.
#pragma once

#include <cstdint>
#include <map>
#include <memory_resource>
#include <optional>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/message_state.hpp"
#include "storage/delay_index.hpp"
#include "storage/key_lines.hpp"
#include "storage/lazy.hpp"
#include "storage/ready_lanes.hpp"
#include "storage/return_state.hpp"
#include "storage/state_page.hpp"

namespace dmq {

// A message as its record describes it. Times are of the steady clock.
struct Arrival {
  std::uint32_t bytes = 0;  // of the record, for the queue's sum
  Priority priority = 0;
  TimeMs ready_at;  // delayed until then
  std::optional<TimeMs> expires_at;
  const ReturnState* returned = nullptr;  // at start; null: nothing became of it yet
  OrderingKey key;
};

// One hand-out of one message; or none, when it is being settled because it expired or was withdrawn.
struct Lease {
  enum class Kind : std::uint8_t { kLease, kExpired, kWithdrawn };
  TimeMs deadline;               // steady clock; of a delayed message that was withdrawn: when it would be ready
  LeaseId id;                    // of a lease
  TimeMs given_ms;               // since 1970
  std::uint32_t deliveries = 0;  // this one included
  std::uint32_t bytes = 0;       // of the record, for the queue's sum
  Priority priority = 0;
  Kind kind = Kind::kLease;
};

struct QueueCounts {
  std::uint64_t ready = 0;   // those that wait for others of their key included
  std::uint64_t leased = 0;  // being settled included, until that is committed
  std::uint64_t delayed = 0;
  std::uint64_t dead = 0;    // on their way to another queue included
  std::uint64_t bytes = 0;   // sum of the records
  std::uint64_t stored = 0;  // what they take on disk
};

// One queue's committed messages, as LSNs; bodies stay in the log. Knows no socket, disk, thread or clock. Not
// thread-safe: it belongs to one loop. Times are of the steady clock.
//
//   append            lease              begin_settle
//  --------> READY ----------> LEASED ----------------> SETTLING
//              ^                 ^ |                      |  ^
//              |<-- undo_lease --|-'<---- restore --------'  |
//              '-- wake ---------- DELAYED                   |
//                                  (ready or delayed) wake, take_expired; (ready, delayed or dead) withdraw
//
// SETTLING comes to an end by remove(), or by give_back(): READY, DELAYED, or DEAD, which is out of circulation and
// perhaps to go to another queue.
//
// Of the messages with one ordering key only the first is in these states, or more than one that is dead or about to
// be; the others are HELD, which looks like READY, until it is gone.
//
// The log decides what becomes of a message: remove() and give_back() apply what is committed, in any state, because a
// follower, and a leader after its predecessor, has messages acked that it never leased itself.
//
// I1  A message is in exactly one of the states.
// I2  A lease number is used once in a term, so a late settle never matches a later lease.
// I3  Ready messages of one priority are handed out in the order of their LSNs; one that comes back takes its old
//     place. Priorities: ReadyLanes.
// I4  After wake(now) nothing that expired by `now` is ready or delayed, and nothing whose delay is over is delayed.
// I5  A dead message is not given out. One that goes to another queue stays until that queue has it.
// I6  Of one ordering key at most one message is READY, DELAYED or LEASED, and it is the first that is not dead, unless
//     one that was dead is behind the first again. While a follower's snapshot is ahead of its log, one may be LEASED
//     beside another.
// I7  A lease that is in the log (apply_lease) ends by the log only. It has no deadline but where this replica leads.
class Queue {
 public:
  Queue() = default;
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  // A committed message; LSNs only grow.
  void append(Lsn lsn, const Arrival& arrival, TimeMs now);

  std::optional<Lsn> first_ready() const;
  bool has_ready() const { return !ready_.empty(); }
  void set_weights(const PriorityWeights& weights) { ready_.set_weights(weights); }
  // Leases first_ready(). REQUIRES: there is one. A message with a key is out until apply_lease(), which begins its
  // time, or undo_lease().
  Lease lease_first(Epoch epoch, TimeMs deadline, std::uint32_t bytes, TimeMs now_ms);
  // A message that is ready or delayed, or dead and goes nowhere, now SETTLING; give_back(), remove() or restore()
  // follows. False: none of them.
  bool withdraw(Lsn lsn);

  // The lease that `lsn` and `id` name, now SETTLING, so that neither its end nor a second ack can touch it; empty
  // when there is none. remove(), give_back() or restore() follows.
  std::optional<Lease> begin_settle(Lsn lsn, LeaseId id);
  void restore(Lsn lsn);  // nothing was committed: as before. Not SETTLING: nothing happens.

  // What is committed. Not here (any more): nothing happens, since a snapshot may be ahead of the log.
  bool remove(Lsn lsn, std::uint32_t bytes);  // it is gone for good
  // As `state` says: ready again, at once or later, or dead.
  bool give_back(Lsn lsn, const ReturnState& state, TimeMs ready_at, TimeMs now);
  // It is out, or its lease goes on. `deadline`: where this replica leads. False: it is not here any more, or dead, as
  // a snapshot may be ahead of the log.
  bool apply_lease(Lsn lsn, const LoggedLease& lease, std::uint32_t bytes, std::optional<TimeMs> deadline);
  // Its record is damaged: it takes up bytes of the store, and nothing else, until the copy is repaired. `holds_key`:
  // those behind it of its ordering key wait for that.
  void set_aside(Lsn lsn, bool holds_key);
  // Another leads, or this one anew: what was leased is ready again, uncounted, but where the lease is in the log.
  void end_leases();
  // This replica leads: leases in the log that it did not give go on for their full time.
  void resume_leases(TimeMs now);
  bool is_logged(Lsn lsn, LeaseId id) const;  // such a lease
  bool holds(Lsn lsn) const;                  // in any state
  // What became of it, as it is committed; null: nothing, and the store has no row of it.
  const ReturnState* returned(Lsn lsn) const;
  std::uint32_t deliveries(Lsn lsn) const;
  OrderingKey key(Lsn lsn) const { return keys_->knows(lsn) ? keys_->key(lsn) : OrderingKey{}; }  // 0: it has none

  // Dead messages that go to another queue, by the order of their marks.
  bool has_leaving() const { return !leaving_.empty(); }
  struct Leaving {
    QueueId to;
    std::uint64_t mark = 0;
    Lsn lsn;
    auto operator<=>(const Leaving&) const = default;
  };
  const std::set<Leaving>& leaving() const { return leaving_; }
  // The other queue has all up to `mark`, now SETTLING; remove() or restore() follows.
  void take_left(QueueId to, std::uint64_t mark, std::vector<Lsn>& out);

  // Looking without taking. What is SETTLING is in none of the states that can be looked at.
  struct Look {
    MessageState state = MessageState::kReady;
    std::uint32_t deliveries = 0;  // how often it was handed out until now
    std::optional<TimeMs> until;   // delayed: when it is ready; leased: when the lease ends
  };
  std::optional<Look> look(Lsn lsn) const;
  // At most `most` of a state behind `after`. A page costs O(most * log n) and up to kPageLooksMax looks. Empty: so
  // many messages of the state are here in no order that looking for the next ones is left to who can walk the log.
  // After wake(), nothing that expired is among them.
  std::optional<StatePage> page(MessageState state, BrowseOrder order, PagePlace after, std::size_t most) const;
  // Likewise, of both states together, the oldest first.
  StatePage ready_and_dead(Lsn after, std::size_t most) const;

  bool extend(Lsn lsn, LeaseId id, TimeMs deadline);
  const Lease* lease(Lsn lsn, LeaseId id) const;  // null: no such lease
  // The hand-out reached nobody: ready again, not counted. False: no such lease, or it is in the log.
  bool undo_lease(Lsn lsn, LeaseId id);

  // Leases that ended by `now` (at most `most`), now SETTLING.
  struct Expired {
    Lsn lsn;
    Lease lease;
  };
  void expire(TimeMs now, std::size_t most, std::vector<Expired>& out);
  // Delayed messages whose time came are ready. True: there were some. What expired is out, for take_expired().
  bool wake(TimeMs now);
  // At most `most` of those, SETTLING; remove() follows.
  void take_expired(std::size_t most, std::vector<Lsn>& out);
  // When expire, wake or take_expired has something to do; it may be early, never late.
  std::optional<TimeMs> next_deadline() const;

  QueueCounts counts() const;
  bool empty() const {
    return ready_.size() + keys_->held() + leases_.size() + settling_.size() + delayed_->size() + dead_.size() == 0;
  }
  // Each LSN, in any state: for dropping a queue. O(n).
  std::vector<Lsn> all() const;
  void check_invariants() const;  // O(n); tests call it after every step

 private:
  struct Deadline {
    TimeMs at;
    Lsn lsn;
    LeaseId lease;
    bool operator<(const Deadline& other) const { return at > other.at; }  // the earliest on top of the heap
  };
  void push_deadline(const Deadline& deadline);
  static constexpr TimeMs kNever{INT64_MAX};
  void make_ready(Lsn lsn, Priority priority, bool fresh);
  void wait(Lsn lsn, Priority priority, TimeMs ready_at, TimeMs now, bool fresh);
  void return_to_ready(Lsn lsn, Priority priority);
  void leave_line(Lsn lsn);
  void forget_key(Lsn lsn);
  void lead_line(Lsn lsn);
  bool pass(Lsn front, Lsn lsn);
  void end_lease(Lsn lsn, const Lease& lease);
  void add_dead(PageBuilder& page) const;
  void bury(Lsn lsn, Priority priority, const Move& move);
  bool is_live(const Deadline& deadline) const;
  void expire_at(Lsn lsn, TimeMs at);
  bool expire_message(Lsn lsn);
  void came_back(Lsn lsn);
  // Out of whatever state it is in; its priority, empty: it is not here.
  std::optional<Priority> take_out(Lsn lsn);
  std::optional<Priority> remove_delayed(Lsn lsn);

  ReadyLanes ready_;
  Lazy<DelayIndex> delayed_;
  Lazy<KeyLines> keys_;
  Lsn newest_;                                    // message
  std::unordered_map<Lsn, ReturnState> history_;  // of messages that came back, in any state
  struct Dead {
    Priority priority;
    QueueId to;
    std::uint64_t mark;
    bool settling;  // a record that takes it away, or brings it back, is on its way
  };
  void leave_again(Lsn lsn, Dead& dead);
  std::map<Lsn, Dead> dead_;
  std::set<Leaving> leaving_;  // those of the dead that go to another queue, and are not settling
  // Leases come and go with each message: their nodes come from a pool, not from the heap.
  std::pmr::unsynchronized_pool_resource pool_;
  std::pmr::unordered_map<Lsn, Lease> leases_{&pool_};
  std::vector<Deadline> deadlines_;  // heap; entries of settled or extended leases are skipped
  std::pmr::unordered_map<Lsn, Lease> settling_{&pool_};
  std::vector<Deadline> expiries_;   // heap of those that expire; entries of those that are gone are skipped
  std::unordered_set<Lsn> overdue_;  // leased when their time came: they expire when they come back
  std::unordered_set<Lsn> expired_;  // SETTLING, for take_expired()
  std::uint64_t bytes_ = 0;
  std::uint64_t stored_ = 0;
  LeaseNumber last_lease_;
};

}  // namespace dmq
