// Appending: the ways by which records come into a partition's log, and out of it again.
#include "storage/partition.hpp"

#include <algorithm>

#include "protocol/invariant.hpp"
#include "protocol/parts.hpp"
#include "storage/log_keys.hpp"

namespace dmq {

namespace {

constexpr std::size_t kDamagedMax = 1000;  // told one by one; all are repaired
constexpr std::size_t kForgetRowsLeast = 100;
constexpr std::size_t kForgetRounds = 60;  // then all producers were looked at

}  // namespace

Partition::Partition(PartitionId id, std::string worker, PartitionLimits limits, std::uint64_t& stored)
    : id_(id), limits_(limits), stored_(stored), replica_(id, std::move(worker)), producers_(id) {}

Queue* Partition::find_queue(QueueId id) {
  const auto found = queues_.find(id);
  return found == queues_.end() ? nullptr : &found->second;
}

// --- at start --------------------------------------------------------------------------------------------------------

void Partition::restore(const PartitionState& state, EpochTable epochs) {
  epoch_ = state.epoch;
  rebuilding_ = state.rebuilding;
  applied_ = state.applied;
  trimmed_ = state.trimmed;
  stored_epochs_ = epochs;
  replica_.restore(std::move(epochs), state.next_lsn, state.applied);
  replica_.trimmed(state.trimmed);
  if (rebuilding_) replica_.rebuild();
}

// What is not applied tells what was decided about messages, so nothing behind it can be applied either.
void Partition::restore_damaged(Lsn lsn) {
  if (rebuilding_ || lsn >= replica_.end()) return;
  note_damage(lsn, {});
  if (lsn < applied_) return;
  rebuilding_ = true;
  replica_.rebuild();
}

// Which of what is here is right cannot be told. That of a log which is not applied yet a record is missing would
// change what all behind it means.
void Partition::restore_miscounted() {
  if (rebuilding_) return;
  replica_.doubt();
  if (applied_ == replica_.end()) return;
  rebuilding_ = true;
  replica_.rebuild();
}

bool Partition::note_damage(Lsn lsn, TimeMs now) {
  if (rebuilding_ || damaged_.size() == kDamagedMax || !damaged_.insert(lsn).second) return false;
  replica_.damaged(now);
  return true;
}

void Partition::restore_message(Lsn lsn, const RecordHeader& header, const ReturnState& returned, const Now& now) {
  const auto bytes = static_cast<std::uint32_t>(record_bytes(header));
  stored_ += stored_bytes(bytes);
  if (const auto dropped = dropped_.find(header.queue); dropped != dropped_.end() && lsn < dropped->second.below) {
    dropped->second.lsns.push_back(lsn);
    dropped->second.stored += stored_bytes(bytes);
    return;
  }
  Queue& queue = queues_[header.queue];
  // Once it came back, only a later delay counts.
  const bool came_back = !returned.is_empty();
  queue.append(lsn,
               {bytes, header.priority, steady_of(came_back ? returned.ready_ms : header.ready_ms, now),
                expiry_of(header.expires_ms, now), came_back ? &returned : nullptr, header.key},
               now.steady);
}

Result<void> Partition::restore_entry(Lsn lsn, const RecordView& record) {
  const RecordHeader& header = record.header;
  LogEntry entry{lsn,
                 header.type,
                 false,
                 header.queue,
                 static_cast<std::uint32_t>(record_bytes(header)),
                 header.sequence,
                 header.sent_ms,
                 nullptr,
                 nullptr,
                 header.priority,
                 header.ready_ms,
                 header.expires_ms,
                 header.key};
  if (header.type != RecordType::kMessage) {
    auto body = decode_control(header.type, record.body);
    if (!body) return tl::unexpected<Error>(body.error());
    entry.control = std::make_unique<ControlBody>(std::move(*body));
    note_emptying(entry);
    log_forget(entry);
  } else {
    if (!record.producer.empty())
      entry.producer = producers_.logged(header.queue, record.producer, header.sequence, lsn);
    stored_ += stored_bytes(entry.bytes);
  }
  tail_.push_back(std::move(entry));
  return {};
}

TimeMs Partition::steady_of(TimeMs wall, const Now& now) {
  return wall.value == 0 ? now.steady : now.steady + (wall - now.wall);
}

std::optional<TimeMs> Partition::expiry_of(TimeMs expires_ms, const Now& now) {
  return expires_ms.value == 0 ? std::nullopt : std::optional(steady_of(expires_ms, now));
}

// --- terms -----------------------------------------------------------------------------------------------------------

// Rules 1 and 12: a term is led once, and terms only grow.
Result<void> Partition::lead(Turn& turn, const Now& now) {
  if (replica_.epoch() <= epoch_) {
    return fail(Errc::kInternal, "partition " + std::to_string(id_.value) + " was served here in epoch " +
                                     std::to_string(epoch_.value) + ", but metad gives epoch " +
                                     std::to_string(replica_.epoch().value) + ": was metad restored from a backup?");
  }
  epoch_ = replica_.epoch();
  delivers_ = false;
  if (!replica_.alone()) {
    // Somebody else may have led in between: leases of then are nobody's.
    for (auto& [id, queue] : queues_) queue.end_leases();
    // Rule 3. An empty log has nothing to commit, and stays empty, so that metad can put a new partition anywhere.
    if (replica_.end() > Lsn{1}) append_control(RecordType::kEpochStart, {}, {}, now, turn);
  }
  for (auto& [id, queue] : queues_) queue.resume_leases(now.steady);
  note_end(turn);
  return {};
}

// The only replica that there is keeps its leases until it leads again.
void Partition::resign() {
  if (replica_.alone()) return;
  for (auto& [id, queue] : queues_) queue.end_leases();
}

Result<void> Partition::note_epoch() {
  if (replica_.epoch() < epoch_) {
    return fail(Errc::kInternal, "partition " + std::to_string(id_.value) + " was served here in epoch " +
                                     std::to_string(epoch_.value) + ", but metad gives epoch " +
                                     std::to_string(replica_.epoch().value) + ": was metad restored from a backup?");
  }
  epoch_ = replica_.epoch();
  return {};
}

// --- the leader's records --------------------------------------------------------------------------------------------

namespace {

// When the message is ready and when it expires, by this leader's clock.
void apply_options(const MessageOptions& options, const Partition::Sender& sender, TimeMs wall, RecordHeader& header) {
  const DurationMs delay = options.delay_ms.value_or(sender.delay);
  header.priority = options.priority;
  header.ready_ms = options.deliver_at.value_or(delay.value == 0 ? TimeMs{} : wall + delay);
  const DurationMs ttl = options.ttl_ms.value_or(sender.ttl);
  header.expires_ms = ttl.value == 0 ? TimeMs{} : wall + ttl;
}

}  // namespace

RecordHeader Partition::header_of(RecordType type, QueueId queue, const Now& now) const {
  RecordHeader header;
  header.type = type;
  header.epoch = epoch_;
  header.queue = queue;
  header.sent_ms = now.wall;
  return header;
}

// A name that no producer can have.
std::string dedup_name(const DedupPolicy& policy, std::string_view id) {
  return (policy.mode == DedupMode::kReplace ? kReplacingProducer : kDedupProducer) + std::string(id);
}

Result<std::vector<std::size_t>> Partition::repeated(const Sender& sender, const std::vector<const SendItem*>& items,
                                                     const Now& now) const {
  std::vector<std::size_t> places;
  std::set<std::string_view> fresh;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string_view id = items[i]->options.dedup_id;
    if (id.empty()) continue;
    const bool again = sender.dedup.mode != DedupMode::kReplace && fresh.contains(id);
    const Producers::Row* const known = producers_.find(sender.queue, dedup_name(sender.dedup, id));
    if (again || (known != nullptr && is_repeated(sender, *known, now))) {
      places.push_back(i);
    } else {
      fresh.insert(id);
    }
  }
  if (!fresh.empty() && producers_.size() + fresh.size() > kProducersMax) {
    return fail(Errc::kUnavailable,
                "this partition remembers " + std::to_string(kProducersMax) +
                    " producers and dedup ids, its limit; a shorter dedup_window_ms lets it forget");
  }
  return places;
}

// What is in the log and not applied is there, or comes soon, or goes with its record.
bool Partition::is_repeated(const Sender& sender, const Producers::Row& row, const Now& now) const {
  const Producers::Entry& known = row.second;
  if (sender.dedup.mode == DedupMode::kReplace) return false;
  if (known.waiting > 0) return true;
  if (known.applied.place.value == 0) return false;
  if (sender.dedup.mode == DedupMode::kWindow) return now.wall - known.applied.used_ms < sender.dedup.window_ms;
  return is_present(row);
}

// A damaged message is in no queue until it is repaired, which nobody can do where there is one replica.
bool Partition::is_present(const Producers::Row& row) const {
  const Lsn lsn{row.second.applied.place.value - 1};
  const auto queue = queues_.find(row.first.first);
  return (queue != queues_.end() && queue->second.holds(lsn)) || (damaged_.contains(lsn) && !replica_.alone());
}

Result<Partition::Appended> Partition::append(const Sender& sender, const std::vector<const SendItem*>& items,
                                              const std::vector<std::size_t>& repeated, const Now& now, Turn& turn) {
  Producers::Admitted admitted{0, nullptr};
  if (!sender.producer.empty()) {
    const auto taken = producers_.admit(sender.queue, sender.producer, sender.sequence, items.size());
    if (!taken) return tl::unexpected<Error>(taken.error());
    admitted = *taken;
  }
  const std::size_t fresh = items.size() - admitted.duplicates - repeated.size();
  const Appended appended{fresh == 0 ? replica_.end() : replica_.append(static_cast<std::uint32_t>(fresh)),
                          admitted.duplicates};
  if (fresh == 0) return appended;
  RecordHeader header = header_of(RecordType::kMessage, sender.queue, now);
  std::string_view producer;
  if (!sender.producer.empty()) producer = turn.kept_strings.emplace_back(sender.producer);
  Lsn lsn = appended.first;
  auto left_out = repeated.begin();
  for (std::size_t i = admitted.duplicates; i < items.size(); ++i) {
    if (left_out != repeated.end() && *left_out == i) {
      ++left_out;
      continue;
    }
    Producers::Row* row = admitted.row;
    std::string_view name = producer;
    if (row != nullptr) header.sequence = Sequence{sender.sequence.value + i};
    if (!items[i]->options.dedup_id.empty()) {
      const std::string& own = turn.kept_strings.emplace_back(dedup_name(sender.dedup, items[i]->options.dedup_id));
      row = &producers_.row_of(sender.queue, own);
      name = own;
      header.sequence = Sequence{row->second.logged.value + 1};
    }
    header.producer_bytes = static_cast<std::uint8_t>(name.size());
    header.attribute_bytes = static_cast<std::uint32_t>(items[i]->attributes.size());
    header.body_bytes = static_cast<std::uint32_t>(items[i]->body.size());
    apply_options(items[i]->options, sender, now.wall, header);
    header.set_key(ordering_key(items[i]->key));
    std::string_view attributes;
    if (!items[i]->attributes.empty()) attributes = turn.kept_strings.emplace_back(items[i]->attributes);
    log_message(lsn, {header, name, attributes, items[i]->body}, row, now, turn);
    ++lsn.value;
    if (row != nullptr && row != admitted.row && replica_.alone())
      turn.writes.producers[producers_.key_of(*row)] = {header.sequence, now.wall, lsn};
  }
  if (admitted.row != nullptr && replica_.alone())
    turn.writes.producers[producers_.key_of(*admitted.row)] = {header.sequence, now.wall, lsn};
  note_end(turn);
  return appended;
}

void Partition::log_message(Lsn lsn, const RecordView& record, Producers::Row* producer, const Now& now, Turn& turn) {
  const RecordHeader& header = record.header;
  const auto bytes = static_cast<std::uint32_t>(record_bytes(header));
  turn.writes.records.push_back({{id_, lsn}, record, {}});
  tail_.push_back({lsn,
                   RecordType::kMessage,
                   replica_.alone(),
                   header.queue,
                   bytes,
                   header.sequence,
                   now.wall,
                   producer,
                   {},
                   header.priority,
                   header.ready_ms,
                   header.expires_ms,
                   header.key});
  stored_ += stored_bytes(bytes);
  turn.stored_bytes += stored_bytes(bytes);
  if (producer != nullptr) Producers::logged(*producer, header.sequence, lsn);
}

// Of a message that is not here, or that leaves already, what the tail says of it takes nothing away: it was purged, or
// a snapshot or an earlier leader was ahead.
Partition::Load Partition::load(QueueId queue) const {
  const auto there = queues_.find(queue);
  const Queue* const core = there == queues_.end() ? nullptr : &there->second;
  const QueueCounts counts = core == nullptr ? QueueCounts{} : core->counts();
  Load load{counts.ready + counts.leased + counts.delayed + counts.dead, counts.bytes,
            core != nullptr && core->has_leaving()};
  const auto counts_here = [core](Lsn lsn) {
    if (core == nullptr || !core->holds(lsn)) return false;
    const ReturnState* const state = core->returned(lsn);
    return state == nullptr || !core->leaving().contains({state->move.to, state->move.mark, lsn});
  };
  std::set<Lsn> gone;
  for (const LogEntry& entry : tail_) {
    if (entry.queue != queue) continue;
    load.messages += entry.type == RecordType::kMessage ? 1 : 0;
    load.bytes += entry.bytes;
    if (entry.type == RecordType::kAcks) {
      for (const AckedMessage& ack : std::get<Acks>(*entry.control)) {
        if (core == nullptr || !core->holds(ack.lsn)) continue;
        load.bytes -= std::min<std::uint64_t>(ack.bytes, load.bytes);
        if (counts_here(ack.lsn)) gone.insert(ack.lsn);
      }
    } else if (entry.type == RecordType::kReturns) {
      for (const ReturnedMessage& each : std::get<Returns>(*entry.control)) {
        if (each.state.move.to.value == 0 || !counts_here(each.lsn)) continue;
        gone.insert(each.lsn);
        load.moving = true;
      }
    }
  }
  const std::uint64_t leaving = core == nullptr ? 0 : core->leaving().size();
  load.messages -= std::min(gone.size() + leaving, load.messages);
  return load;
}

void Partition::append_moved(QueueId queue, const std::string& producer, std::vector<Moved> messages, const Now& now,
                             Turn& turn) {
  Producers::Row& row = producers_.row_of(queue, producer);
  std::erase_if(messages, [&row](const Moved& message) { return message.mark <= row.second.logged.value; });
  if (messages.empty()) return;
  Lsn lsn = replica_.append(static_cast<std::uint32_t>(messages.size()));
  const std::string_view name = turn.kept_strings.emplace_back(producer);
  for (Moved& message : messages) {
    const std::string_view attributes = turn.kept_strings.emplace_back(std::move(message.attributes));
    RecordHeader header = header_of(RecordType::kMessage, queue, now);
    header.priority = message.priority;
    header.set_key(message.key);
    header.producer_bytes = static_cast<std::uint8_t>(name.size());
    header.attribute_bytes = static_cast<std::uint32_t>(attributes.size());
    header.body_bytes = static_cast<std::uint32_t>(message.body.size());
    header.sequence = {message.mark};
    log_message(lsn, {header, name, attributes, message.body}, &row, now, turn);
    ++lsn.value;
  }
  if (replica_.alone()) turn.writes.producers[producers_.key_of(row)] = {Sequence{messages.back().mark}, now.wall, lsn};
  note_end(turn);
}

void Partition::forget_producers(const std::function<bool(const Producers::Row&)>& is_over, const Now& now,
                                 Turn& turn) {
  const std::size_t rows = std::max(kForgetRowsLeast, producers_.size() / kForgetRounds);
  for (const auto& [queue, names] : producers_.idle(rows, is_over)) {
    append_control(RecordType::kForgetProducers, queue, names, now, turn);
  }
}

// Where nobody else needs the log, a control record's effect is written in its place.
void Partition::append_control(RecordType type, QueueId queue, ControlBody body, const Now& now, Turn& turn) {
  LogEntry entry;
  entry.lsn = replica_.append(1);
  entry.type = type;
  entry.effect_stored = replica_.alone();
  entry.queue = queue;
  entry.control = std::make_unique<ControlBody>(std::move(body));
  note_emptying(entry);
  log_forget(entry);
  if (entry.effect_stored) {
    store_effect(entry, turn.writes);
    trimmed_ = Lsn{entry.lsn.value + 1};
    replica_.trimmed(trimmed_);
  } else {
    const std::string& bytes = turn.kept_strings.emplace_back(encode_control(*entry.control));
    RecordHeader header = header_of(type, queue, now);
    header.body_bytes = static_cast<std::uint32_t>(bytes.size());
    turn.writes.records.push_back({{id_, entry.lsn}, {header, {}, {}, bytes}, {}});
  }
  tail_.push_back(std::move(entry));
  note_end(turn);
}

void Partition::note_emptying(const LogEntry& entry) {
  if (entry.type == RecordType::kDropQueue) dropping_.insert(entry.queue);
  if (entry.type == RecordType::kDropQueue || entry.type == RecordType::kPurge) emptying_.insert(entry.queue);
}

void Partition::log_forget(const LogEntry& entry) {
  if (entry.type == RecordType::kDropQueue) producers_.logged_forget_queue(entry.queue, entry.lsn);
  if (entry.type != RecordType::kForgetProducers) return;
  for (const std::string& name : std::get<ProducerNames>(*entry.control)) {
    producers_.logged_forget(entry.queue, name, entry.lsn);
  }
}

void Partition::note_end(Turn& turn) { turn.ends[id_] = {replica_.end(), generation_}; }

// --- a follower's records --------------------------------------------------------------------------------------------

Result<void> Partition::append_encoded(Lsn lsn, std::string_view bytes, Turn& turn) {
  const auto record = read_record(bytes, {id_, lsn});
  if (!record) return tl::unexpected<Error>(record.error());
  if (record->header.epoch != replica_.epochs().at(lsn)) return fail(Errc::kInternal, "record is of another term");
  if (auto restored = restore_entry(lsn, *record); !restored) return restored;
  turn.writes.records.push_back({{id_, lsn}, *record, bytes});
  turn.stored_bytes += stored_bytes(bytes.size());
  return {};
}

// Of messages that are settled, which do not come any more.
void Partition::learn_producers(const std::vector<SnapshotProducer>& producers, Turn& turn) {
  for (const SnapshotProducer& each : producers) {
    const Producers::Row& row = producers_.catch_up(each.queue, each.name, {each.last, each.used_ms, each.place});
    turn.effects.producers[producers_.key_of(row)] = row.second.applied;
  }
  if (!producers.empty()) count_logged();
}

// What is in the tail, in its order.
void Partition::count_logged() {
  producers_.roll_back();
  for (LogEntry& entry : tail_) {
    if (entry.producer != nullptr) Producers::logged(*entry.producer, entry.sequence, entry.lsn);
    if (entry.control != nullptr) log_forget(entry);
  }
}

void Partition::extend(Turn& turn) { note_end(turn); }

void Partition::truncate(Turn& turn) {
  const RecordPlace from{id_, replica_.end()};
  std::erase_if(turn.writes.records,
                [&](const PutRecord& put) { return put.place.partition == id_ && put.place.lsn >= from.lsn; });
  turn.effects.truncations.push_back(from);
  cut_tail(from.lsn);
  note_end(turn);
}

void Partition::cut_tail(Lsn end) {
  ++generation_;
  for (; !tail_.empty() && tail_.back().lsn >= end; tail_.pop_back()) {
    const LogEntry& entry = tail_.back();
    if (entry.type == RecordType::kMessage) stored_ -= stored_bytes(entry.bytes);
    if (entry.type == RecordType::kDropQueue) dropping_.erase(entry.queue);
    // An earlier removal may have left its row to this one, which is not to be now.
    const bool removes = entry.type == RecordType::kPurge || entry.type == RecordType::kDropQueue;
    if (removes) emptying_.extract(entry.queue);
    if (removes && entry.effect_stored) dropped_.try_emplace(entry.queue);
    Queue* const queue = find_queue(entry.queue);
    if (queue == nullptr || entry.control == nullptr) continue;
    if (const auto* acks = std::get_if<Acks>(entry.control.get())) {
      for (const AckedMessage& ack : *acks) queue->restore(ack.lsn);
    } else if (const auto* returns = std::get_if<Returns>(entry.control.get())) {
      for (const ReturnedMessage& message : *returns) queue->restore(message.lsn);
    } else if (const auto* leases = std::get_if<Leases>(entry.control.get())) {
      for (const LeasedMessage& message : *leases) queue->undo_lease(message.lsn, message.lease.id);
    }
  }
  count_logged();
  producers_.prune();
}

// --- a turn's outcome ------------------------------------------------------------------------------------------------

void Partition::on_disk(const LogEnd& end, TimeMs now, ReplicaEffects& out) {
  written_ = end.generation;
  if (!is_settled()) return;
  replica_.on_disk(end.end, now, out);
  if (replica_.end_on_disk() >= applied_) replaced_ = false;
}

void Partition::roll_back(Turn& next) {
  taken_.clear();
  if (rebuilding_ || replaced_) return rebuild(next);
  replica_.roll_back();
  trimmed_ = std::min(trimmed_, replica_.end());
  cut_tail(replica_.end());
  written_ = generation_;  // turns fail together: nothing is on its way
}

PartitionState Partition::state() const {
  const auto pending =
      std::find_if(tail_.begin(), tail_.end(), [](const LogEntry& entry) { return !entry.effect_stored; });
  const Lsn stored = pending != tail_.end() ? pending->lsn : tail_.empty() ? applied_ : replica_.end();
  return {epoch_, replica_.end(), std::max(applied_, stored), trimmed_, rebuilding_};
}

bool Partition::has_stored_effects() const {
  return std::any_of(tail_.begin(), tail_.end(),
                     [](const LogEntry& entry) { return entry.effect_stored && entry.control != nullptr; });
}

bool Partition::is_at_rest(const Turn& turn) const {
  return is_settled() && under_way_ == 0 &&
         std::none_of(turn.effects.removals.begin(), turn.effects.removals.end(),
                      [this](const RecordPlace& place) { return place.partition == id_; });
}

void Partition::seal(Turn& turn) {
  ++under_way_;
  turn.writes.partitions[id_] = state();
  if (replica_.epochs() == stored_epochs_) return;
  stored_epochs_ = replica_.epochs();
  turn.writes.epochs[id_] = replica_.epochs();
}

}  // namespace dmq
