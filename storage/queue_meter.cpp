// A ring of seconds.
#include "storage/queue_meter.hpp"

namespace dmq {

void QueueMeter::count(Traffic kind, std::uint64_t messages, TimeMs now) {
  const auto index = static_cast<std::size_t>(kind);
  totals_[index] += messages;
  if (slots_ == nullptr) slots_ = std::make_unique<std::array<Slot, kSlots>>();
  const std::int64_t second = now.value / 1000;
  Slot& slot = (*slots_)[static_cast<std::size_t>(second) % kSlots];
  if (slot.second != second) slot = {second, {}};
  slot.counts[index] += static_cast<std::uint32_t>(messages);
}

TrafficCounts QueueMeter::recent(TimeMs now) const {
  TrafficCounts sums{};
  if (slots_ == nullptr) return sums;
  const std::int64_t last = now.value / 1000;
  for (const Slot& slot : *slots_) {
    if (slot.second < 0 || slot.second > last || slot.second < last - kWindowSeconds) continue;
    for (std::size_t i = 0; i < kTrafficKinds; ++i) sums[i] += slot.counts[i];
  }
  return sums;
}

}  // namespace dmq
