// The queue core: which messages of one queue are ready, leased, delayed or being settled.
#pragma once

#include <cstdint>
#include <memory_resource>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "storage/delay_index.hpp"
#include "storage/ready_lanes.hpp"

namespace dmq {

// A message as its record describes it. Times are of the steady clock.
struct Arrival {
  std::uint32_t bytes = 0;       // of the record, for the queue's sum
  std::uint32_t deliveries = 0;  // at start: how often it came back
  Priority priority = 0;
  TimeMs ready_at;  // delayed until then
  std::optional<TimeMs> expires_at;
};

// One hand-out of one message; or none, when it is being settled because it expired.
struct Lease {
  TimeMs deadline;           // steady clock
  LeaseNumber number;        // 0: it expired
  std::uint32_t deliveries;  // this one included
  std::uint32_t bytes;       // of the record, for the queue's sum
  Priority priority;
};

struct QueueCounts {
  std::uint64_t ready = 0;
  std::uint64_t leased = 0;  // being settled included, until that is committed
  std::uint64_t delayed = 0;
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
//                                  (ready or delayed) wake, take_expired
//
// The log decides what becomes of a message: remove() and give_back() apply what is committed, in any state, because a
// follower, and a leader after its predecessor, has messages acked that it never leased itself.
//
// I1  A message is in exactly one of the states.
// I2  A lease number is used once in a term, so a late settle never matches a later lease.
// I3  Ready messages of one priority are handed out in the order of their LSNs; one that comes back takes its old
//     place. Priorities: ReadyLanes.
// I4  After wake(now) nothing that expired by `now` is ready or delayed, and nothing whose delay is over is delayed.
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
  // Leases first_ready(). REQUIRES: there is one.
  Lease lease_first(TimeMs deadline, std::uint32_t bytes);

  // The lease that `lsn` and `number` name, now SETTLING, so that neither its end nor a second ack can touch it; empty
  // when there is none. remove(), give_back() or restore() follows.
  std::optional<Lease> begin_settle(Lsn lsn, LeaseNumber number);
  void restore(Lsn lsn);  // nothing was committed: leased as before. Not SETTLING: nothing happens.

  // What is committed. Not here (any more): nothing happens, since a snapshot may be ahead of the log.
  bool remove(Lsn lsn, std::uint32_t bytes);                                       // it is gone for good
  bool give_back(Lsn lsn, std::uint32_t deliveries, TimeMs ready_at, TimeMs now);  // ready again, at once or later
  // Its record is damaged: it takes up bytes of the store, and nothing else, until the copy is repaired.
  void set_aside(Lsn lsn);
  // Another leads, or this one anew: what was leased is ready again, uncounted.
  void end_leases();
  bool holds(Lsn lsn) const;  // in any state
  // It came back before, so the store knows its deliveries.
  bool is_counted(Lsn lsn) const { return returned(lsn).deliveries > 0; }
  // How often it came back, the current lease not counted, and when it is ready again.
  struct Returned {
    std::uint32_t deliveries = 0;
    std::optional<TimeMs> ready_at;  // empty: it is not delayed
  };
  Returned returned(Lsn lsn) const;

  bool extend(Lsn lsn, LeaseNumber number, TimeMs deadline);
  // The hand-out reached nobody: ready again, not counted. False: no such lease.
  bool undo_lease(Lsn lsn, LeaseNumber number);

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
  bool empty() const { return counts().ready + leases_.size() + settling_.size() + delayed_.size() == 0; }
  // Each LSN, in any state: for dropping a queue. O(n).
  std::vector<Lsn> all() const;
  void check_invariants() const;  // O(n); tests call it after every step

 private:
  struct Deadline {
    TimeMs at;
    Lsn lsn;
    LeaseNumber number;
    bool operator<(const Deadline& other) const { return at > other.at; }  // the earliest on top of the heap
  };
  void push_deadline(const Deadline& deadline);
  void return_to_ready(Lsn lsn, std::uint32_t deliveries, Priority priority);
  bool is_live(const Deadline& deadline) const;
  void expire_at(Lsn lsn, TimeMs at);
  bool expire_message(Lsn lsn);
  void came_back(Lsn lsn);
  // Out of whatever state it is in; its priority, empty: it is not here.
  std::optional<Priority> take_out(Lsn lsn);

  ReadyLanes ready_;
  DelayIndex delayed_;
  std::unordered_map<Lsn, std::uint32_t> deliveries_;  // of ready and delayed messages that were handed out before
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
