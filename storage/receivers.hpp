// Who waits for messages of a queue: receives, which are answered once, and subscriptions, until they end.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "protocol/header.hpp"
#include "storage/given_lease.hpp"
#include "storage/queue.hpp"
#include "storage/turn.hpp"

namespace dmq {

struct Receiver {
  ReplyTo to;
  RequestId id;
  std::uint64_t max = 1;        // messages; of a subscription: its credit
  std::uint64_t max_bytes = 0;  // likewise
  DurationMs lease;
  TimeMs until;
  bool ack_on_delivery = false;
  std::string attempt;   // empty: none
  std::string consumer;  // empty: not named
  std::string name;      // of a subscription, or of a receive that may be ended by it; empty: none
  bool subscribes = false;
  std::vector<GivenLease> held;  // a subscription's; also what was settled since unsettled() looked
  bool is_subscription() const { return subscribes; }
  Replies replies() const { return is_subscription() ? Replies::kMore : Replies::kLast; }

  struct Unsettled {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;  // of their records
  };
  // Of what a subscription was given, what lasts. O(held).
  Unsettled unsettled(const Queue& queue);
  // Its credit is used up.
  bool has_all(const Queue& queue);
};

// Receivers are served in the order of their tickets. Knows no clock and no I/O. Not thread-safe.
class Receivers {
 public:
  using Ticket = std::uint64_t;
  using Line = std::map<Ticket, Receiver>;  // of one queue; never empty

  void add(const QueuePlace& queue, Receiver receiver);
  std::size_t size() const { return by_end_.size(); }
  std::size_t waiting(const QueuePlace& queue) const;
  Line* line(const QueuePlace& queue);  // null: nobody waits
  std::vector<QueuePlace> queues_of(PartitionId partition) const;

  using Which = std::function<bool(const Receiver&)>;
  // Out of the line; empty: there is no such one.
  std::optional<Receiver> take(const QueuePlace& queue, const Which& which);
  std::vector<Receiver> take_all(const QueuePlace& queue);
  std::vector<Receiver> take_all_of(PartitionId partition);
  std::vector<Receiver> take_all();
  std::vector<Receiver> take_ended(TimeMs now);  // those that have waited for long enough
  // The one at `at` was served and stays: it goes behind the others of its line. The next one to serve.
  Line::iterator to_back(const QueuePlace& queue, Line::iterator at);
  // Likewise, and it leaves; call drop_empty() afterwards.
  Line::iterator remove(const QueuePlace& queue, Line::iterator at);
  void drop_empty(const QueuePlace& queue);
  std::optional<TimeMs> next_deadline() const;

 private:
  std::map<QueuePlace, Line> lines_;
  std::set<std::tuple<TimeMs, QueuePlace, Ticket>> by_end_;
  Ticket next_ticket_ = 1;
};

}  // namespace dmq
