// Sequence checks of idempotent producers (docs/protocol.md, "Idempotent producers").
#include "storage/producers.hpp"

#include <algorithm>

#include "protocol/limits.hpp"

namespace dmq {

void Producers::restore(const ProducerKey& key, const ProducerState& state) {
  table_[{std::get<QueueId>(key), std::get<std::string>(key)}] = {state, state.last};
}

// It may have been forgotten in between, and have begun anew.
const Producers::Row& Producers::catch_up(QueueId queue, const std::string& producer, const ProducerState& state) {
  Row& row = *table_.try_emplace({queue, producer}).first;
  if (state.place > row.second.applied.place) row.second.applied = state;
  return row;
}

std::vector<SnapshotProducer> Producers::since(Lsn first) const {
  std::vector<SnapshotProducer> found;
  for (const auto& [key, entry] : table_) {
    const ProducerState& state = entry.applied;
    if (state.last.value == 0 || state.place <= first) continue;
    found.push_back({key.first, key.second, state.last, state.used_ms, state.place});
  }
  return found;
}

Result<Producers::Admitted> Producers::admit(QueueId queue, std::string_view producer, Sequence first,
                                             std::size_t count) {
  const auto known = table_.find(std::pair(queue, producer));
  const Sequence last = known == table_.end() ? Sequence{} : known->second.logged;
  if (first.value > last.value + 1) {
    return fail(Errc::kOutOfSequence, "sequence " + std::to_string(first.value) + " does not follow " +
                                          std::to_string(last.value) +
                                          ", the last that this queue has from the producer; send the missing ones, "
                                          "or go on under a new producer name from 1");
  }
  const Sequence end{first.value + count - 1};
  if (end <= last) return Admitted{count, &*known};
  if (known == table_.end() && table_.size() >= kProducersMax) {
    return fail(Errc::kUnavailable, "this partition remembers " + std::to_string(kProducersMax) +
                                        " producers and dedup ids, its limit; idle ones are forgotten in time");
  }
  Row& row = known == table_.end() ? *table_.emplace(std::pair(queue, std::string(producer)), Entry{}).first : *known;
  return Admitted{static_cast<std::size_t>(last.value + 1 - first.value), &row};
}

std::size_t Producers::duplicates(QueueId queue, std::string_view producer, Sequence first, std::size_t count) const {
  const auto known = producer.empty() ? table_.end() : table_.find(std::pair(queue, producer));
  if (known == table_.end() || known->second.logged < first) return 0;
  return std::min<std::size_t>(count, known->second.logged.value + 1 - first.value);
}

const Producers::Row* Producers::find(QueueId queue, std::string_view producer) const {
  const auto row = table_.find(std::pair(queue, producer));
  return row == table_.end() ? nullptr : &*row;
}

Producers::Row* Producers::logged(QueueId queue, std::string_view producer, Sequence sequence, Lsn lsn) {
  const auto known = table_.find(std::pair(queue, producer));
  Row& row = known == table_.end() ? *table_.try_emplace({queue, std::string(producer)}).first : *known;
  logged(row, sequence, lsn);
  return &row;
}

void Producers::logged_forget(QueueId queue, const std::string& producer, Lsn lsn) {
  const auto row = table_.find(std::pair(queue, producer));
  if (row != table_.end() && row->second.applied.place <= lsn) row->second.logged = {};
}

void Producers::logged_forget_queue(QueueId queue, Lsn lsn) {
  for (auto row = table_.lower_bound(std::pair(queue, std::string_view()));
       row != table_.end() && row->first.first == queue; ++row) {
    if (row->second.applied.place <= lsn) row->second.logged = {};
  }
}

void Producers::apply(Row& row, Sequence sequence, TimeMs sent_ms, Lsn lsn) {
  --row.second.waiting;
  ProducerState& state = row.second.applied;
  if (lsn < state.place) return;
  state = {std::max(state.last, sequence), std::max(state.used_ms, sent_ms), Lsn{lsn.value + 1}};
}

void Producers::roll_back() {
  for (auto& [key, entry] : table_) {
    entry.logged = entry.applied.last;
    entry.waiting = 0;
  }
}

void Producers::prune() {
  std::erase_if(table_, [](const Row& row) {
    const Entry& entry = row.second;
    return entry.logged.value == 0 && entry.applied.last.value == 0 && entry.waiting == 0;
  });
}

std::map<QueueId, std::vector<std::string>> Producers::idle(std::size_t rows,
                                                            const std::function<bool(const Row&)>& is_over) {
  std::map<QueueId, std::vector<std::string>> found;
  auto row = table_.lower_bound(idle_from_);
  for (; row != table_.end() && rows > 0; ++row, --rows) {
    const auto& [key, entry] = *row;
    if (entry.logged == entry.applied.last && entry.waiting == 0 && is_over(*row))
      found[key.first].push_back(key.second);
  }
  idle_from_ = row == table_.end() ? std::pair<QueueId, std::string>() : row->first;
  return found;
}

// A catching-up follower hears who sent what is settled by now, and that may be behind the record in the log.
bool Producers::forget(QueueId queue, const std::string& producer, Lsn lsn) {
  const auto row = table_.find(std::pair(queue, producer));
  if (row == table_.end()) return true;
  if (row->second.applied.place > lsn) return false;
  if (row->second.waiting == 0) {
    table_.erase(row);
  } else {
    row->second.applied = {};  // it sent again meanwhile
  }
  return true;
}

void Producers::forget_queue(QueueId queue, Lsn lsn, WriteBatch& writes) {
  for (auto row = of_queue(queue); row != table_.end() && row->first.first == queue;) {
    const ProducerKey key = key_of(*row++);
    if (!forget(queue, std::get<std::string>(key), lsn)) continue;
    writes.producers.erase(key);
    writes.forgotten_producers.push_back(key);
  }
}

void Producers::unstore_queue(QueueId queue, WriteBatch& writes) const {
  for (auto row = of_queue(queue); row != table_.end() && row->first.first == queue; ++row) {
    writes.producers.erase(key_of(*row));
    writes.forgotten_producers.push_back(key_of(*row));
  }
}

}  // namespace dmq
