// Applying: what committed records make of queues and producers, the same at every replica.
#include <algorithm>

#include "protocol/invariant.hpp"
#include "storage/log_keys.hpp"
#include "storage/partition.hpp"

namespace dmq {

// An effect may not overtake its record, so what is not on this replica's disk yet waits too.
void Partition::advance(const Now& now, Turn& turn, Applied& applied) {
  if (rebuilding_) return;
  Lsn limit = std::min(replica_.commit(), replica_.end_on_disk());
  bool changed = false;
  for (; !tail_.empty() && tail_.front().lsn < limit; tail_.pop_front()) {
    apply(tail_.front(), now, turn.effects, applied);
    changed |= !tail_.front().effect_stored;
    if (applied.compare) limit = Lsn{tail_.front().lsn.value + 1};
  }
  store_producers(turn.effects);
  applied_ = std::max(applied_, limit);
  changed |= trim(now.steady, turn.effects);
  if (changed) turn.changed.insert(id_);
  applied.delivers_now |= replica_.delivers() && !delivers_;
  delivers_ = replica_.delivers();
}

void Partition::apply(const LogEntry& entry, const Now& now, WriteBatch& effects, Applied& applied) {
  if (entry.queue.value != 0) applied.touched.insert(entry.queue);
  switch (entry.type) {
    case RecordType::kMessage:
      queues_[entry.queue].append(entry.lsn,
                                  {entry.bytes, entry.priority, steady_of(entry.ready_ms, now),
                                   expiry_of(entry.expires_ms, now), nullptr, entry.key},
                                  now.steady);
      if (entry.producer == nullptr) break;
      note_replaced(entry, applied);
      Producers::apply(*entry.producer, entry.sequence, entry.sent_ms, entry.lsn);
      // Messages of a producer come in runs.
      if (!entry.effect_stored && (applied_producers_.empty() || applied_producers_.back() != entry.producer))
        applied_producers_.push_back(entry.producer);
      break;
    case RecordType::kAcks:
      apply_acks(entry, effects);
      break;
    case RecordType::kOldReturns:
    case RecordType::kReturns:
      apply_returns(entry, now, effects);
      break;
    case RecordType::kLeases:
      apply_leases(entry, now, effects);
      break;
    case RecordType::kForgetProducers:
      apply_forget(entry, effects);
      break;
    case RecordType::kDropQueue:
      apply_drop(entry, effects);
      applied.touched.erase(entry.queue);
      applied.dropped = true;
      break;
    case RecordType::kPurge:
      applied.purged.push_back({entry.lsn, take_out_all(entry, effects)});
      applied.dropped = true;
      break;
    case RecordType::kCompare:
      applied.compare = {entry.lsn, std::get<LogRange>(*entry.control)};
      break;
    case RecordType::kEpochStart:
      break;
  }
  if (!entry.effect_stored && entry.type != RecordType::kMessage) controls_.push_back(entry.lsn);
}

// The one before it with its dedup id, by what is known of that so far.
void Partition::note_replaced(const LogEntry& entry, Applied& applied) {
  const auto& [key, known] = *entry.producer;
  const Lsn behind = known.applied.place;
  if (key.second.front() != kReplacingProducer || behind.value == 0 || behind > entry.lsn) return;
  applied.replaced.push_back({entry.queue, Lsn{behind.value - 1}});
}

void Partition::apply_acks(const LogEntry& entry, WriteBatch& effects) {
  Queue* const queue = find_queue(entry.queue);
  for (const AckedMessage& ack : std::get<Acks>(*entry.control)) {
    const bool counted = queue != nullptr && queue->returned(ack.lsn) != nullptr;
    if (queue == nullptr || !queue->remove(ack.lsn, ack.bytes)) continue;  // its queue was deleted
    stored_ -= stored_bytes(ack.bytes);
    if (entry.effect_stored) continue;
    effects.removals.push_back({id_, ack.lsn});
    if (counted) effects.returns[{id_, ack.lsn}] = {};
  }
}

void Partition::apply_returns(const LogEntry& entry, const Now& now, WriteBatch& effects) {
  Queue* const queue = find_queue(entry.queue);
  if (queue == nullptr) return;
  for (const ReturnedMessage& message : std::get<Returns>(*entry.control)) {
    const ReturnState state = state_of(message, entry.lsn);
    const bool here = queue->give_back(message.lsn, state, steady_of(state.ready_ms, now), now.steady);
    if (here && !entry.effect_stored) effects.returns[{id_, message.lsn}] = state;
  }
}

void Partition::apply_leases(const LogEntry& entry, const Now& now, WriteBatch& effects) {
  Queue* const queue = find_queue(entry.queue);
  if (queue == nullptr) return;
  for (const LeasedMessage& message : std::get<Leases>(*entry.control)) {
    const auto deadline = replica_.leads() ? std::optional(now.steady + message.lease.duration) : std::nullopt;
    const bool here = queue->apply_lease(message.lsn, message.lease, message.bytes, deadline);
    if (here && !entry.effect_stored) effects.returns[{id_, message.lsn}] = *queue->returned(message.lsn);
  }
}

// Of all replicas the same, and it grows along the log.
ReturnState Partition::state_of(const ReturnedMessage& message, Lsn record) const {
  ReturnState state = message.state;
  if (state.move.is_set()) state.move.mark = move_mark(replica_.epochs().at(record), record);
  return state;
}

// Once for all that was applied: a row's key and the place in the batch cost more than the rest of a message.
void Partition::store_producers(WriteBatch& effects) {
  for (const Producers::Row* row : applied_producers_) effects.producers[producers_.key_of(*row)] = row->second.applied;
  applied_producers_.clear();
}

void Partition::apply_forget(const LogEntry& entry, WriteBatch& effects) {
  store_producers(effects);  // the rows are there still
  for (const std::string& name : std::get<ProducerNames>(*entry.control)) {
    if (!producers_.forget(entry.queue, name, entry.lsn) || entry.effect_stored) continue;
    effects.producers.erase({id_, entry.queue, name});
    effects.forgotten_producers.emplace_back(id_, entry.queue, name);
  }
}

// A message of the queue behind this record, from a leader that had not heard of the deletion, begins it anew.
void Partition::apply_drop(const LogEntry& entry, WriteBatch& effects) {
  store_producers(effects);  // the rows are there still
  dropping_.erase(entry.queue);
  take_out_all(entry, effects);
  producers_.forget_queue(entry.queue, entry.lsn, effects);
}

// How many they are.
std::uint64_t Partition::take_out_all(const LogEntry& entry, WriteBatch& effects) {
  emptying_.extract(entry.queue);
  Dropped& dropped = dropped_[entry.queue];
  dropped.below = entry.lsn;
  std::size_t count = 0;
  if (const Queue* queue = find_queue(entry.queue)) {
    const std::vector<Lsn> all = queue->all();
    dropped.lsns.insert(dropped.lsns.end(), all.begin(), all.end());
    dropped.stored += queue->counts().stored;
    count = all.size();
    queues_.erase(entry.queue);
  }
  if (!entry.effect_stored) effects.dropped[{id_, entry.queue}] = entry.lsn;
  return count;
}

// Is there a record of the queue that is not applied yet, but whose effect may be in the store already?
bool Partition::is_stored_ahead(QueueId queue, std::initializer_list<RecordType> types) const {
  return std::any_of(tail_.begin(), tail_.end(), [&](const LogEntry& entry) {
    return entry.effect_stored && entry.queue == queue &&
           std::find(types.begin(), types.end(), entry.type) != types.end();
  });
}

// What is stored of a message that was being given back would come behind its removal, and stay.
bool Partition::has_removable() const {
  return !dropped_.empty() && !is_stored_ahead(dropped_.begin()->first, {RecordType::kReturns, RecordType::kLeases});
}

void Partition::remove_dropped(std::size_t most, WriteBatch& effects) {
  if (!has_removable()) return;
  auto& [queue, dropped] = *dropped_.begin();
  for (std::size_t i = 0; i < most && !dropped.lsns.empty(); ++i) {
    const RecordPlace place{id_, dropped.lsns.back()};
    dropped.lsns.pop_back();
    effects.removals.push_back(place);
    effects.returns[place] = {};
  }
  if (!dropped.lsns.empty()) return;
  stored_ -= std::min(stored_, dropped.stored);
  // Another purge has written its row over this one's.
  if (!is_stored_ahead(queue, {RecordType::kPurge, RecordType::kDropQueue})) effects.dropped[{id_, queue}] = {};
  dropped_.erase(queue);
}

// What apply() would add to a later transaction, for an entry that needs no place in the log.
void Partition::store_effect(const LogEntry& entry, WriteBatch& writes) {
  if (entry.type == RecordType::kAcks) {
    const Queue& queue = queues_[entry.queue];
    for (const AckedMessage& ack : std::get<Acks>(*entry.control)) {
      writes.removals.push_back({id_, ack.lsn});
      if (queue.returned(ack.lsn) != nullptr) writes.returns[{id_, ack.lsn}] = {};
    }
  } else if (entry.type == RecordType::kReturns) {
    for (const ReturnedMessage& message : std::get<Returns>(*entry.control)) {
      writes.returns[{id_, message.lsn}] = state_of(message, entry.lsn);
    }
  } else if (entry.type == RecordType::kLeases) {
    const Queue& queue = queues_[entry.queue];
    for (const LeasedMessage& message : std::get<Leases>(*entry.control)) {
      const ReturnState* earlier = queue.returned(message.lsn);
      ReturnState state = earlier == nullptr ? ReturnState{} : *earlier;
      state.lease = message.lease;
      writes.returns[{id_, message.lsn}] = state;
    }
  } else if (entry.type == RecordType::kForgetProducers) {
    for (const std::string& name : std::get<ProducerNames>(*entry.control)) {
      writes.producers.erase({id_, entry.queue, name});
      writes.forgotten_producers.emplace_back(id_, entry.queue, name);
    }
  } else if (entry.type == RecordType::kDropQueue || entry.type == RecordType::kPurge) {
    if (entry.type == RecordType::kDropQueue) producers_.unstore_queue(entry.queue, writes);
    writes.dropped[{id_, entry.queue}] = entry.lsn;
  }
}

// --- trimming --------------------------------------------------------------------------------------------------------

void Partition::hold_trim(Lsn end, TimeMs until) {
  trim_held_ = std::min(trim_held_, end);
  trim_held_until_ = until;
}

// True: something went, which must be known after a restart.
bool Partition::trim(TimeMs now, WriteBatch& effects) {
  if (now >= trim_held_until_) trim_held_ = Lsn{UINT64_MAX};
  Lsn end = replica_.trim();
  if (replica_.leads()) {
    const Lsn kept{applied_.value > limits_.controls_kept_max ? applied_.value - limits_.controls_kept_max : 1};
    end = std::max(replica_.everyones_end(), kept);
  }
  end = std::min({end, applied_, trim_held_});
  if (end <= trimmed_) return false;
  const bool any = !controls_.empty() && controls_.front() < end;
  for (; !controls_.empty() && controls_.front() < end; controls_.pop_front()) {
    effects.removals.push_back({id_, controls_.front()});
  }
  trimmed_ = end;
  replica_.trimmed(end);
  return any;
}

// --- snapshots -------------------------------------------------------------------------------------------------------

void Partition::begin_snapshot(Turn& turn) {
  rebuilding_ = true;
  replica_.rebuild();
  clear(turn);
}

// A part of the snapshot could not be written: it comes again from its start.
void Partition::rebuild(Turn& turn) {
  rebuilding_ = true;
  replaced_ = false;
  replica_.rebuild();
  applied_ = std::min(applied_, replica_.end());
  trimmed_ = std::min(trimmed_, replica_.end());
  clear(turn);
}

void Partition::start_over(Turn& turn) {
  rebuilding_ = replaced_ = false;
  damaged_.clear();
  replica_.start_over();
  clear(turn);
  std::erase_if(turn.writes.records, [&](const PutRecord& put) { return put.place.partition == id_; });
  turn.effects.truncations.push_back({id_, Lsn{1}});
  turn.effects.recounts.insert(id_);
  applied_ = trimmed_ = Lsn{1};
}

// Effects that the turn has gathered are of what goes: stored behind the removals, they would stay for good. What they
// take away goes in any case.
void Partition::clear(Turn& turn) {
  ++generation_;
  std::erase_if(turn.effects.producers, [&](const auto& row) { return std::get<PartitionId>(row.first) == id_; });
  std::erase_if(turn.effects.returns,
                [&](const auto& row) { return row.first.partition == id_ && !row.second.is_empty(); });
  for (auto& [id, queue] : queues_) {
    stored_ -= std::min(stored_, queue.counts().stored);
    for (const Lsn lsn : queue.all()) {  // of an interrupted snapshot, whose records may be gone meanwhile
      if (queue.returned(lsn) != nullptr) turn.effects.returns[{id_, lsn}] = {};
    }
  }
  for (const LogEntry& entry : tail_) {
    if (entry.type == RecordType::kMessage) stored_ -= std::min(stored_, stored_bytes(entry.bytes));
  }
  for (const auto& [queue, dropped] : dropped_) {
    stored_ -= std::min(stored_, dropped.stored);
    turn.effects.dropped[{id_, queue}] = {};
  }
  dropped_.clear();
  dropping_.clear();
  emptying_.clear();
  tail_.clear();
  queues_.clear();
  controls_.clear();
  for (const auto& row : producers_.table()) turn.effects.forgotten_producers.push_back(producers_.key_of(row));
  producers_.clear();
  note_end(turn);
}

void Partition::extend_snapshot(Turn& turn) {
  ++generation_;
  note_end(turn);
}

void Partition::end_snapshot(Turn& turn) {
  rebuilding_ = false;
  replaced_ = true;
  damaged_.clear();
  turn.effects.recounts.insert(id_);
  truncate(turn);  // what is here behind the snapshot's stamp comes again, as it is at the leader
  applied_ = trimmed_ = replica_.end();
  replica_.trimmed(trimmed_);
}

}  // namespace dmq
