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
  void add(Lsn lsn, std::string_view record, std::string_view state);
  // Below kNumberMax, as it travels as a number.
  std::uint64_t finish() const;

 private:
  std::string bytes_;
};

// The leader's notes of one partition, in one term. All replicas look at a range at the same place of the log, so equal
// copies give equal hashes. Knows no socket, disk, thread or clock. Not thread-safe.
class RangeComparison {
 public:
  static constexpr std::size_t kOpenMax = 64;  // an older one is given up: the next round compares that range again

  // A follower gets what lives, while the leader has applied all below `applied`. What it makes of the log up to there
  // is another state than the leader's was: it lacks what is settled by now. So it abstains.
  void served(const std::string& follower, Lsn applied) { served_[follower] = applied; }

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

 private:
  struct Open {
    Lsn at;
    LogRange range;
    std::uint64_t own;
    std::map<std::string, std::optional<std::uint64_t>> words;  // empty: it abstains
  };
  static std::optional<Doubt> judge(const Open& open);

  std::deque<Open> open_;
  std::map<std::string, Lsn> served_;
};

}  // namespace dmq
