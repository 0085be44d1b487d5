// What clients saw of a cluster, and whether it kept its promises.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tests/cluster/numbered_body.hpp"

namespace dmq::cluster {

struct Counts {
  std::uint64_t sent = 0;
  std::uint64_t confirmed = 0;
  std::uint64_t unconfirmed = 0;  // given up by the client: each may or may not arrive
  std::uint64_t delivered = 0;    // messages that arrived, each counted once
  std::uint64_t redelivered = 0;  // further deliveries of the same message
  std::uint64_t acked = 0;        // acks that the broker itself confirmed
  // Broken promises:
  std::uint64_t lost = 0;        // confirmed and never delivered
  std::uint64_t invented = 0;    // delivered and never sent, or not as it was sent, or in another queue
  std::uint64_t doubled = 0;     // one message stored a second time, under another id
  std::uint64_t reused = 0;      // one id given to a second message
  std::uint64_t undone = 0;      // delivered to a receive that began after the ack was confirmed
  std::uint64_t disordered = 0;  // stored, or in order first delivered, after a later one of its producer and queue

  std::uint64_t violations() const { return lost + invented + doubled + reused + undone + disordered; }
};

// The events of one run, in the order in which they were seen. Pure state, no I/O. Not thread-safe.
//
// A place in that order is a Moment. It is conservative for `undone`: a receive counts from when the client was asked
// for it, whatever it repeated after that.
class History {
 public:
  using Moment = std::uint64_t;

  // `in_order`: one consumer for each queue, with one receive at a time, whose replies are lost only together with
  // all leases. Otherwise the order of first deliveries promises nothing.
  explicit History(bool in_order) : in_order_(in_order) {}

  void sent(const MessageName& name);
  void confirmed(const MessageName& name);
  void unconfirmed(const MessageName& name);
  Moment receive_begins() { return ++last_; }
  // `name`: as read_body gave it; `queue`: where it was received.
  void delivered(const std::optional<MessageName>& name, std::uint32_t queue, std::string_view id, Moment begun);
  void acked(std::uint32_t queue, std::string_view id);

  // With what can be known only at the end: what is lost, and what is stored in another order than it was sent. The
  // second is read from the ids of those that were delivered: they name the place in the partition's log.
  Counts result() const;
  std::uint64_t confirmed() const { return counts_.confirmed; }
  // A sentence for each of the first few violations.
  std::vector<std::string> examples() const;

 private:
  using Stream = std::pair<std::uint32_t, std::uint32_t>;  // queue, producer
  struct Message {
    bool confirmed = false;
    std::string id;  // empty: not delivered yet
  };
  struct Stored {
    MessageName name;
    Moment acked = 0;  // 0: not yet
  };
  Message* find(const MessageName& name);
  // Calls `fault(sentence, count of its kind)` for each violation that shows only at the end.
  template <class Fault>
  void judge_end(Fault fault) const;
  void note(std::uint64_t& count, const std::string& what);

  const bool in_order_;
  Moment last_ = 0;
  Counts counts_;
  std::vector<std::string> examples_;
  std::map<Stream, std::vector<Message>> streams_;
  std::map<Stream, std::uint64_t> next_first_;  // behind the highest counter that was delivered
  std::map<std::uint32_t, std::unordered_map<std::string, Stored>> stored_;  // per queue, by message id
};

// "queue 1, producer 2, counter 30".
std::string text_of(const MessageName& name);

}  // namespace dmq::cluster
