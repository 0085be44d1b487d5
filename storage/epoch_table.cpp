// Look-ups in a short sorted list.
#include "storage/epoch_table.hpp"

#include <algorithm>

#include "protocol/invariant.hpp"

namespace dmq {

void EpochTable::add(Epoch epoch, Lsn first) {
  if (!starts_.empty() && epoch == starts_.back().epoch) return;
  check_invariant(starts_.empty() || (epoch > starts_.back().epoch && first >= starts_.back().first),
                  "terms and their places grow");
  if (!starts_.empty() && starts_.back().first == first) {
    starts_.back().epoch = epoch;  // the term before had no records
  } else {
    starts_.push_back({epoch, first});
  }
}

void EpochTable::cut(Lsn end) {
  while (!starts_.empty() && starts_.back().first >= end) starts_.pop_back();
}

Epoch EpochTable::at(Lsn lsn) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), lsn,
                                      [](Lsn at, const EpochStart& start) { return at < start.first; });
  return after == starts_.begin() ? Epoch{} : std::prev(after)->epoch;
}

EpochTable::End EpochTable::end_of(Epoch epoch, Lsn log_end) const {
  const auto after = std::upper_bound(starts_.begin(), starts_.end(), epoch,
                                      [](Epoch at, const EpochStart& start) { return at < start.epoch; });
  const Lsn end = after == starts_.end() ? log_end : after->first;
  return {after == starts_.begin() ? Epoch{} : std::prev(after)->epoch, end};
}

}  // namespace dmq
