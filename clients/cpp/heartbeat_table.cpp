// See heartbeat_table.hpp.
#include "clients/cpp/heartbeat_table.hpp"

#include <algorithm>

namespace dmq {
namespace {

// Two signs may be lost, or late, before the consumer is taken for gone.
DurationMs pause_of(DurationMs silence) { return DurationMs{std::max<std::int64_t>(silence.value / 3, 1)}; }

}  // namespace

void HeartbeatTable::note_sign(std::string_view queue, std::string_view consumer, DurationMs silence, TimeMs now) {
  Entry& entry = consumers_[{std::string(queue), std::string(consumer)}];
  entry.silence = silence;
  entry.due = now + pause_of(silence);
}

std::optional<Heartbeat> HeartbeatTable::next_due(TimeMs now) {
  for (auto& [name, entry] : consumers_) {
    if (entry.under_way || now < entry.due) continue;
    entry.under_way = true;
    entry.asked_at = now;
    return Heartbeat{name.first, name.second, entry.silence};
  }
  return std::nullopt;
}

void HeartbeatTable::on_answer(const Heartbeat& heartbeat) {
  const auto at = consumers_.find({heartbeat.queue, heartbeat.consumer});
  if (at == consumers_.end()) return;
  Entry& entry = at->second;
  entry.under_way = false;
  entry.due = std::max(entry.due, entry.asked_at + pause_of(entry.silence));
}

void HeartbeatTable::on_failure(const Heartbeat& heartbeat, bool again, TimeMs now) {
  const auto at = consumers_.find({heartbeat.queue, heartbeat.consumer});
  if (at == consumers_.end()) return;
  if (!again) {
    consumers_.erase(at);
    return;
  }
  at->second.under_way = false;
  at->second.due = now + DurationMs{pause_of(at->second.silence).value / 2 + 1};
}

std::optional<TimeMs> HeartbeatTable::next_deadline() const {
  std::optional<TimeMs> next;
  for (const auto& [name, entry] : consumers_) {
    if (!entry.under_way) next = next ? std::min(*next, entry.due) : entry.due;
  }
  return next;
}

}  // namespace dmq
