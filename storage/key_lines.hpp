// Messages with an ordering key: of each key one may go out, and those behind it are held.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/ids.hpp"
#include "storage/lsn_line.hpp"

namespace dmq {

// Knows no clock and no I/O. Not thread-safe. A message with a key takes about 70 bytes, one without takes nothing.
//
// I1  Each key that has messages in its line has one front; all others of the line are held, in the order of the log.
// I2  A message that is known is the front of its key, held, or in no line: dead, or being settled from there.
class KeyLines {
 public:
  struct Next {
    Lsn lsn;
    Priority priority = 0;
    TimeMs ready_at;  // steady clock; 0: at once
  };

  void learn(Lsn lsn, OrderingKey key, Priority priority);  // in no line yet
  void forget(Lsn lsn);                                     // REQUIRES: in no line
  bool knows(Lsn lsn) const { return !messages_.empty() && messages_.contains(lsn); }
  // At the place that its LSN says. True: it is the front; false: it is held.
  bool join(Lsn lsn, TimeMs ready_at);
  // Out of its line, if it is in one. With: the front now, since it was the front.
  std::optional<Next> leave(Lsn lsn);
  // It is the front, whoever was, and that one is held from now on, until `ready_at`.
  void overtake(Lsn lsn, TimeMs ready_at);
  // Of its key; empty: nobody is in the line.
  std::optional<Lsn> front(Lsn lsn) const;
  bool is_front(Lsn lsn) const { return front(lsn) == lsn; }
  // It is the front, and one that is held came before it.
  bool is_early(Lsn lsn) const;
  bool empty() const { return messages_.empty(); }
  Priority priority(Lsn lsn) const { return messages_.at(lsn).priority; }
  OrderingKey key(Lsn lsn) const { return messages_.at(lsn).key; }
  bool is_held(Lsn lsn) const { return held_.contains(lsn); }
  TimeMs held_until(Lsn lsn) const { return messages_.at(lsn).ready_at; }  // 0: for no time of its own
  std::size_t held() const { return held_.size(); }
  void all_held(std::vector<Lsn>& out) const { held_.all(out); }
  void add_held_to(PageBuilder& page) const { held_.add_to(page); }
  bool is_sound() const;  // O(n)

 private:
  struct Message {
    OrderingKey key;
    Lsn next;         // of its key, behind it; 0: none
    TimeMs ready_at;  // of one that is held
    Priority priority = 0;
  };
  struct Line {
    Lsn front;
    Lsn first_held;  // 0: none
    Lsn last_held;
  };

  void hold(Line& line, Lsn lsn, TimeMs ready_at);
  void release(Line& line, Lsn lsn);

  std::unordered_map<Lsn, Message> messages_;
  std::unordered_map<OrderingKey, Line> lines_;
  LsnLine held_;
};

}  // namespace dmq
