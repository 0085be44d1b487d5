// The scrub: looks for damaged records before anybody needs them, while other replicas still have what is damaged.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "storage/record_source.hpp"

namespace dmq {

// Reads all records of a store in rounds, a little at a time, so that requests hardly notice. Knows no disk and no
// clock. Not thread-safe: it belongs to the worker's loop.
class Scrub {
 public:
  static constexpr std::uint64_t kStepBytes = 64 * 1024;  // then requests have their turn; but at least one record
  static constexpr DurationMs kRoundEvery{3600 * 1000};   // a small store is not read without end

  // 0: never.
  explicit Scrub(std::uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  // When step() has something to do, on the steady clock; empty: never.
  std::optional<TimeMs> due() const;

  struct Round {
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    std::uint64_t damaged = 0;
    TimeMs begun;
  };
  using Found = std::function<void(RecordPlace place, const Error& error)>;
  // Reads on in `held`, the store's partitions in order, and tells of each damaged record. Returns the round when this
  // step was its last one. A store that cannot be read is tried again with the next step.
  std::optional<Round> step(TimeMs now, const std::vector<PartitionId>& held, RecordSource& records,
                            const Found& found);

 private:
  std::uint64_t read_some(RecordSource& records, std::uint64_t most, const Found& found);

  const std::uint64_t bytes_per_s_;
  RecordPlace next_{};
  Round round_;
  TimeMs due_;
};

}  // namespace dmq
