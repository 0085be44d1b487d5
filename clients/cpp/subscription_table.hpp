// The subscriptions of a client: which are to be asked for when, and what a reply means to one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dmq/client.hpp"
#include "protocol/ids.hpp"

namespace dmq {

struct Subscription {
  std::string queue;
  std::string name;
  SubscribeOptions options;
  ReceiveCallback got;
};

// Pure state: times come in, requests to put on the wire go out. Not thread-safe. Each of them:
//
//   add --> DUE -- next_due --> ASKED -- answered --> ON -- a third of its time is over, or the link was lost --> DUE
//            ^----------- ended, or a failure ----------'
//
// It has the id of its first request all its life. It leaves by take(), also while it is asked for.
// LIMIT: each call looks at all of them; a client has a few, not thousands.
class SubscriptionTable {
 public:
  static constexpr DurationMs kLasts{15'000};  // unless it is asked for again

  void add(std::uint64_t id, Subscription subscription, TimeMs now);
  // The next one to ask for; empty: none is due.
  std::optional<std::uint64_t> next_due(TimeMs now);
  Subscription* find(std::uint64_t id);                             // null: not (any more) one of these
  std::optional<std::uint64_t> find(std::string_view queue) const;  // those that are to end are not found
  void on_answer(std::uint64_t id, TimeMs now);                     // it is on
  void on_end(std::uint64_t id, TimeMs now);                        // it is not, and is to be asked for again
  void on_link_lost(TimeMs now);
  // Nobody wants it any more: it is not asked for again, and what still comes is to be given back.
  void leave(std::uint64_t id);
  bool is_left(std::uint64_t id) const;
  std::optional<Subscription> take(std::uint64_t id);
  std::optional<std::uint64_t> any() const;  // one that was not left

  std::optional<TimeMs> next_deadline() const;
  bool empty() const { return all_.empty(); }

 private:
  struct Entry {
    Subscription subscription;
    TimeMs due;
    bool asked = false;
    bool left = false;
  };
  Entry* entry(std::uint64_t id);

  std::map<std::uint64_t, Entry> all_;
};

}  // namespace dmq
