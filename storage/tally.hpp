// How many rows a partition has in the log, and what they add up to.
#pragma once

#include <cstdint>

namespace dmq {

// Changes with each row in the same transaction. What is counted at a start must be the same: otherwise a row vanished,
// came back, or lies in a wrong place.
struct Tally {
  std::uint64_t rows = 0;
  std::uint64_t sum = 0;  // modulo 2^64, of a hash of each row's key and, of its first part, checksum

  void add(std::uint64_t hash) {
    ++rows;
    sum += hash;
  }
  void remove(std::uint64_t hash) {
    --rows;
    sum -= hash;
  }
  bool operator==(const Tally&) const = default;
};

}  // namespace dmq
