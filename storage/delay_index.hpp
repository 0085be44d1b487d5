// The messages of a queue that may not be handed out yet, by their time and by their LSN.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/ids.hpp"
#include "storage/state_page.hpp"

namespace dmq {

// Knows no clock and no I/O. Not thread-safe. A million messages that were never handed out take 32 to 48 MB: an entry
// of 16 bytes in a heap by time, and one in a list by LSN.
//
// I1  Each message that waits stands once in the list or in the map, and its entry is in the heap.
// I2  Entries of the heap that are in neither any more outnumber the others by a bounded number only.
class DelayIndex {
 public:
  struct Woken {
    Lsn lsn;
    Priority priority = 0;
  };

  // `fresh`: never handed out, so LSNs mostly grow.
  void add(Lsn lsn, Priority priority, TimeMs ready_at, bool fresh);
  // The priority; empty: it does not wait here.
  std::optional<Priority> remove(Lsn lsn);
  // The next whose time came by `now`, no longer here.
  std::optional<Woken> wake(TimeMs now);
  std::optional<TimeMs> ready_at(Lsn lsn) const;
  bool contains(Lsn lsn) const { return find(lsn).has_value(); }
  std::size_t size() const { return count_; }
  // When wake() may have one; it may be early, never late.
  std::optional<TimeMs> next() const;
  void all(std::vector<Lsn>& out) const;
  // Looking without taking. False: too many of them are in no order.
  bool add_to(PageBuilder& page) const;
  bool is_sound() const;  // O(n log n)

 private:
  // Time and priority in one number, so that an entry has 16 bytes.
  struct When {
    std::int64_t packed;
    static When of(TimeMs at, Priority priority) { return {at.value * 16 + priority}; }
    TimeMs at() const { return {packed >> 4}; }
    Priority priority() const { return static_cast<Priority>(packed & 15); }
    bool operator==(const When&) const = default;
  };
  struct Entry {
    When when;
    Lsn lsn;
    bool operator<(const Entry& other) const {  // the earliest on top of the heap
      return when.packed != other.when.packed ? when.packed > other.when.packed : lsn > other.lsn;
    }
  };
  static constexpr When kGone{INT64_MIN};

  std::optional<When> find(Lsn lsn) const;
  std::deque<Entry>::const_iterator in_list(Lsn lsn) const;
  bool is_live(const Entry& entry) const { return find(entry.lsn) == entry.when; }
  void sweep();

  std::vector<Entry> heap_;
  std::deque<Entry> list_;  // of fresh ones, by LSN; kGone: it is not here any more, and neither first nor last
  std::size_t gone_ = 0;    // in list_
  std::unordered_map<Lsn, When> others_;
  std::size_t count_ = 0;
};

}  // namespace dmq
