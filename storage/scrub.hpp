// The scrub: looks for damaged records before anybody needs them, while other replicas still have what is damaged.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "storage/control.hpp"
#include "storage/record_source.hpp"

namespace dmq {

// Reads all records of a store in rounds, a little at a time, so that requests hardly notice. Knows no disk and no
// clock. Not thread-safe: it belongs to the worker's loop.
class Scrub {
 public:
  static constexpr std::uint64_t kStepBytes = 64 * 1024;     // then requests have their turn; but at least one record
  static constexpr std::uint64_t kRangeBytes = 1024 * 1024;  // what replicas compare at once
  static constexpr std::uint64_t kRangeMessages = 5000;      // likewise

  // 0 bytes: never. A round begins no sooner than `round_every` after the last one began, so that a small store is not
  // read without end.
  Scrub(std::uint64_t bytes_per_s, DurationMs round_every) : bytes_per_s_(bytes_per_s), round_every_(round_every) {}

  // When step() has something to do, on the steady clock; empty: never.
  std::optional<TimeMs> due() const;

  struct Round {
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    std::uint64_t damaged = 0;
    TimeMs begun;
  };
  using Found = std::function<void(RecordPlace place, const Error& error)>;
  // LSNs [first, end) were read, with messages in them: about kRangeBytes, or the rest of a partition.
  using Covered = std::function<void(PartitionId partition, LogRange range)>;
  // Reads on in `held`, the store's partitions in order, and tells of each damaged record. Returns the round when this
  // step was its last one. A store that cannot be read is tried again with the next step.
  std::optional<Round> step(TimeMs now, const std::vector<PartitionId>& held, RecordSource& records, const Found& found,
                            const Covered& covered);

 private:
  std::uint64_t read_some(RecordSource& records, std::uint64_t most, const Found& found, const Covered& covered);
  void cover(Lsn end, const Covered& covered);

  const std::uint64_t bytes_per_s_;
  const DurationMs round_every_;
  RecordPlace next_{};
  Lsn range_first_{1};  // of the range that is being read
  std::uint64_t range_bytes_ = 0;
  std::uint64_t range_messages_ = 0;
  Round round_;
  TimeMs due_;
};

}  // namespace dmq
