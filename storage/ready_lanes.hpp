// The messages of a queue that can be handed out: a lane for each priority, each in the order of the log.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "protocol/catalog.hpp"
#include "protocol/ids.hpp"
#include "storage/lsn_line.hpp"
#include "storage/state_page.hpp"

namespace dmq {

// Knows no clock and no I/O. Not thread-safe.
//
// I1  A message is in one lane, once.
// I2  Within a lane messages come in the order of their LSNs; one that was put back takes its old place. One with an
//     ordering key is behind all that came before it was ready: so the keys take turns.
// I3  Without weights a lane is served only while those above it are empty. With weights, of any W messages in a row
//     that all non-empty lanes could give, W being the sum of their weights, each gives as many as its weight says.
class ReadyLanes {
 public:
  struct Place {
    Lsn lsn;
    Priority priority = 0;
  };

  void append(Lsn lsn, Priority priority);    // never handed out
  void put_back(Lsn lsn, Priority priority);  // handed out before, or delayed
  // Behind what the queue took until now, `newest` being the last of it.
  void put_behind(Lsn lsn, Priority priority, Lsn newest);
  bool empty() const { return count_ == 0; }
  std::size_t size() const { return count_; }
  std::optional<Place> first() const;
  void pop();  // first(). REQUIRES: not empty
  // The lane that it was in; empty: in none.
  std::optional<Priority> remove(Lsn lsn);
  bool contains(Lsn lsn) const;
  // Zeros: strict.
  void set_weights(const PriorityWeights& weights) { weights_ = weights; }
  void all(std::vector<Lsn>& out) const;
  // Looking without taking: in the order of the log, or as they are handed out without weights.
  void add_to(PageBuilder& page) const;
  StatePage next_page(PagePlace after, std::size_t most) const;
  bool is_sound() const;  // O(n)

 private:
  // When a message with a key goes out: behind what the queue had taken, and those that became ready before it.
  struct Turn {
    Lsn behind;
    std::uint64_t number = 0;
    auto operator<=>(const Turn&) const = default;
  };
  struct Lane {
    LsnLine line;  // those without a key
    std::map<Turn, Lsn> turns;
    std::map<Lsn, Turn> turn_of;
    bool empty() const { return line.empty() && turns.empty(); }
    std::size_t size() const { return line.size() + turns.size(); }
    bool is_turn() const;  // what is next has a key
    Lsn first() const { return is_turn() ? turns.begin()->second : line.first(); }
    void pop();
    bool contains(Lsn lsn) const { return line.contains(lsn) || turn_of.contains(lsn); }
    bool remove(Lsn lsn);
    void all(std::vector<Lsn>& out) const;
    void add_to(PageBuilder& page) const;
    bool is_sound() const;
  };
  // Most queues have one priority: its lane costs no look-up.
  Lane& lane(Priority priority) { return priority == 0 ? plain_ : above_[priority]; }
  Priority next_lane() const;
  bool is_weighted() const { return !above_.empty() && weights_ != PriorityWeights{}; }

  Lane plain_;                                      // priority 0
  std::map<Priority, Lane, std::greater<>> above_;  // those that were used, the highest first
  PriorityWeights weights_{};
  std::array<std::int32_t, kPriorities> credit_{};  // of each lane, for its turn
  std::uint64_t last_turn_ = 0;
  std::size_t count_ = 0;
};

}  // namespace dmq
