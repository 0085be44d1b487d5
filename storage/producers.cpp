// Sequence checks of idempotent producers (docs/protocol.md, "Idempotent producers").
#include "storage/producers.hpp"

namespace dmq {

void Producers::restore(const ProducerKey& key, const ProducerState& state) {
  table_[{std::get<QueueId>(key), std::get<std::string>(key)}] = {state, state.last};
}

Result<std::size_t> Producers::admit(QueueId queue, std::string_view producer, Sequence first, std::size_t count,
                                     TimeMs wall_now, WriteBatch& writes) {
  const std::pair<QueueId, std::string> key(queue, producer);
  const auto known = table_.find(key);
  const Sequence last = known == table_.end() ? Sequence{} : known->second.waiting;
  if (first.value > last.value + 1) {
    return fail(Errc::kOutOfSequence, "sequence " + std::to_string(first.value) + " does not follow " +
                                          std::to_string(last.value) +
                                          ", the last that this queue has from the producer; send the missing ones, "
                                          "or go on under a new producer name from 1");
  }
  const Sequence end{first.value + count - 1};
  if (end <= last) return count;
  if (known == table_.end() && table_.size() >= kProducersMax) {
    return fail(Errc::kUnavailable, "this partition remembers " + std::to_string(kProducersMax) +
                                        " producers, its limit; idle ones are forgotten in time");
  }
  Entry& entry = known == table_.end() ? table_[key] : known->second;
  entry.waiting = end;
  writes.producers[{partition_, queue, key.second}] = {end, wall_now};
  return static_cast<std::size_t>(last.value + 1 - first.value);
}

void Producers::committed(const WriteBatch& writes) {
  for (const ProducerKey& key : writes.forgotten_producers) {
    if (std::get<PartitionId>(key) != partition_) continue;
    const auto row = table_.find(std::pair(std::get<QueueId>(key), std::get<std::string>(key)));
    // One that sent again meanwhile stays: a later write, perhaps in this very batch, puts its row back.
    if (row != table_.end() && row->second.waiting == row->second.committed.last) table_.erase(row);
  }
  for (const auto& [key, state] : writes.producers) {
    if (std::get<PartitionId>(key) != partition_) continue;
    const auto row = table_.find(std::pair(std::get<QueueId>(key), std::get<std::string>(key)));
    if (row != table_.end()) row->second.committed = state;
  }
}

void Producers::roll_back() {
  for (auto row = table_.begin(); row != table_.end();) {
    row->second.waiting = row->second.committed.last;
    row = row->second.waiting.value == 0 ? table_.erase(row) : std::next(row);
  }
}

void Producers::forget_idle(TimeMs before, std::size_t most, WriteBatch& writes) {
  for (const auto& row : table_) {
    const Entry& entry = row.second;
    if (entry.committed.used_ms >= before || entry.waiting != entry.committed.last) continue;
    if (most-- == 0) return;
    writes.forgotten_producers.push_back(key_of(row));
  }
}

void Producers::forget_queue(QueueId queue, WriteBatch& writes) {
  for (auto row = table_.lower_bound(std::pair(queue, std::string())); row != table_.end() && row->first.first == queue;
       ++row) {
    writes.forgotten_producers.push_back(key_of(*row));
  }
}

}  // namespace dmq
