// Comparing what replicas have: a hash of a range of the log, and whose copy the others outvote.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/control.hpp"

namespace dmq {

// Of the messages that live in a range: place, checksum and delivery count of each, in order.
class RangeHasher {
 public:
  // `record`: its bytes, which begin with the checksum.
  void add(Lsn lsn, std::string_view record, std::uint32_t deliveries);
  // Below kNumberMax, as it travels as a number.
  std::uint64_t finish() const;

 private:
  std::string bytes_;
};

// The leader's notes of one partition. All replicas look at a range at the same place of the log, so equal copies give
// equal hashes. Knows no socket, disk, thread or clock. Not thread-safe.
class RangeComparison {
 public:
  static constexpr std::size_t kOpenMax = 64;  // an older one is given up: the next round compares that range again

  // The leader's own hash, when it applies the record at `at`.
  void begin(Lsn at, LogRange range, std::uint64_t own);

  // Who is to have the copy repaired. With two replicas the leader's counts, with more the one that most have.
  struct Doubt {
    LogRange range;
    bool leader = false;
    std::vector<std::string> followers;
  };
  // A follower's word. Empty: they are equal, or not all of `others`, the in-sync followers, have been heard.
  std::optional<Doubt> take(const std::string& name, Lsn at, std::uint64_t hash,
                            const std::vector<std::string>& others);
  void clear() { open_.clear(); }

 private:
  struct Open {
    Lsn at;
    LogRange range;
    std::uint64_t own;
    std::map<std::string, std::uint64_t> words;
  };
  static std::optional<Doubt> judge(const Open& open);

  std::deque<Open> open_;
};

}  // namespace dmq
