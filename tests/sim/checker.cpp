// The invariants of replication (docs/architecture.md), on what is seen of all replicas at once.
#include "tests/sim/checker.hpp"

#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "tests/sim/describe.hpp"

namespace dmq::sim {

void Checker::observe(Node& node) {
  const bool thorough = ++observed_ % 16 == 0;
  const bool exhaustive = observed_ % 64 == 0;
  if (harmed_.contains(node.endpoint())) remember(node);
  // A replica that is alone has no record of a purge, but its row until the messages are gone.
  for (const auto& [place, below] : node.disk.dropped) {
    if (!deleted_.contains(place.queue)) learn_purge(place.queue, {place.partition, below}, false);
  }
  for (const auto& [id, partition] : node.service()->partitions()) {
    Seen& seen = seen_[{node.endpoint(), id}];
    Log& log = logs_[id];
    check_role(node, partition, log, seen);
    if (world_.tracing()) world_.trace("  " + node.name() + " " + describe(partition));
    learn(node, partition, log, seen);
    if (seen.applied < partition.applied()) compare(node, partition, log, seen);
    if (exhaustive) check_live(node, partition);
    if (!thorough) continue;
    for (const auto& [queue, core] : partition.queues()) core.check_invariants();
  }
}

void Checker::check_role(const Node& node, const Partition& partition, Log& log, Seen& seen) {
  const Replica& replica = partition.replica();
  if (seen.life != node.life() || seen.generation != partition.generation()) {
    seen = {node.life(), partition.generation(), Lsn{1}, partition.epoch()};
  }
  must(partition.epoch() >= seen.epoch, "a replica's epoch never falls");
  seen.epoch = partition.epoch();
  if (!replica.leads() || (seen.led == replica.epoch() && seen.session == replica.session())) return;
  seen.led = replica.epoch();
  seen.session = replica.session();
  const auto [leader, first] = log.leaders.try_emplace(replica.epoch(), std::pair(node.endpoint(), replica.session()));
  must(first || leader->second == std::pair(node.endpoint(), replica.session()), "an epoch has one leader");
}

// Whoever first knows of a commit has the records. That is the leader, or who led until a moment ago: one turn may
// bring the commit and the next term. Followers know what they were told; where records have gone already, they tell
// nothing.
void Checker::learn(const Node& node, const Partition& partition, Log& log, Seen& seen) {
  const Replica& replica = partition.replica();
  if (partition.rebuilding() || replica.epoch() < log.first_epoch) return;
  const Lsn commit = std::min(replica.commit(), replica.end_on_disk());
  const PartitionVersion before = std::exchange(seen.version, replica.set().version);
  if (log.slots.size() >= commit.value) return;
  const std::size_t least = least_in_sync(log, before, seen.version);
  while (log.slots.size() < commit.value) {
    const RecordPlace place{partition.id(), {log.slots.size()}};
    const bool tells = replica.leads() || replica.alone();  // of one that is alone nobody else will
    if (!tells && node.disk.find(place) == nullptr) return;
    log.slots.emplace_back();
    log.slots.back() = read_slot(node, place);
    log.incomplete |= log.slots.back().bytes.empty();
    if (log.slots.back().message) check_limit(log, log.slots.back().queue);
    if (place.lsn >= partition.trimmed()) check_copies_enough(place, log.slots.back(), least);
    ++committed_;
  }
}

Checker::Slot Checker::read_slot(const Node& node, RecordPlace place) {
  Slot slot;
  slot.place = place;
  const std::string* bytes = written(node, node.disk, place);
  world_.note("committed", place.partition.value, place.lsn.value, bytes == nullptr ? 0 : bytes->size());
  if (bytes == nullptr) return slot;
  const auto record = read_record(*bytes, place);
  if (!record) violated("a record is damaged when it is committed" + at(place));
  slot.bytes = *bytes;
  if (record->header.type != RecordType::kMessage) {
    learn_control(place, *record);
    return slot;
  }
  slot.message = index_of(record->body);
  if (!slot.message) violated("a message is committed that nobody sent" + at(place));
  slot.queue = record->header.queue;
  slot.key = record->header.key;
  slot.expires_ms = record->header.expires_ms;
  Message& message = messages_[*slot.message];
  if (record->producer.starts_with(kTransferProducer)) {
    arrived(message, place, record->header);
  } else {
    if (message.place) repeated(message, place, record->header.sent_ms);
    if (message.sent_to != slot.queue) violated("a message is in another queue than it was sent to" + at(place));
    check_options(message, place, record->header);
    if (!message.first) message.first = place;
    if (message.queue != slot.queue) return slot;  // an old request, of a producer that was forgotten
  }
  message.place = place;
  learn_key(slot.queue, message.key, place);
  if (message.first == place) message.sent_ms = record->header.sent_ms;
  if ((record->header.key.value == 0) != message.key.empty()) violated("a message has lost its key" + at(place));
  message.ready_ms = record->header.ready_ms;
  message.expires_ms = record->header.expires_ms;
  return slot;
}

// A queue may have several partitions; what has a key is in one of them, for all time.
void Checker::learn_key(QueueId queue, const std::string& key, RecordPlace place) {
  if (key.empty()) return;
  const auto [known, first] = key_places_.try_emplace({queue, key}, place.partition);
  if (known->second != place.partition) violated("the messages of a key are in two partitions of a queue" + at(place));
}

// From the queue that gave it up, once.
void Checker::arrived(Message& message, RecordPlace place, const RecordHeader& header) {
  if (message.repeated) return;
  const Log& from = logs_.at(message.place->partition);
  const Slot& before = from.slots.at(message.place->lsn.value);
  if (!from.incomplete && !deleted_.contains(header.queue)) {  // of a deleted queue it may have stayed behind
    if (queue_of_target(before.leaves_to) != header.queue)
      violated("a message came to a queue that it was not to go to" + at(place));
    const bool purged = is_purged(before.queue, before.place);
    if (before.is_settled() && !purged) violated("a message came to a queue when its own was done with it" + at(place));
  }
  if (message.queue == header.queue) violated("a message came to its queue twice" + at(*message.place) + at(place));
  if (header.priority != message.options.priority || header.ready_ms.value != 0 || header.expires_ms.value != 0) {
    violated("a message that moved is not treated as it should be" + at(place));
  }
  message.queue = header.queue;
  message.before[*message.place] = world_.mark();
  message.arrived_mark = world_.mark();
  message.visited.insert(header.queue);
  message.purged = false;  // it had left
  message.holds.clear();
}

void Checker::check_options(const Message& message, RecordPlace place, const RecordHeader& header) const {
  const MessageOptions& asked = message.options;
  const TimeMs ready = asked.delay_ms ? header.sent_ms + *asked.delay_ms : TimeMs{};
  const TimeMs expires = asked.ttl_ms ? header.sent_ms + *asked.ttl_ms : TimeMs{};
  if (header.priority != asked.priority || header.ready_ms != ready || header.expires_ms != expires) {
    violated("a message is not treated as it asked" + at(place));
  }
}

void Checker::repeated(Message& message, RecordPlace place, TimeMs sent_ms) const {
  if (!may_be_again(message, sent_ms)) {
    violated("a message that was sent once is in the log twice" + at(*message.place) + at(place));
  }
  message.repeated = true;
}

// A producer that was idle for so long that it is forgotten may begin anew, and an old request comes late. With a dedup
// id, as the queue says.
bool Checker::may_be_again(const Message& message, TimeMs sent_ms) const {
  if (!message.by_id) return message.idempotent && sent_ms - message.sent_ms > producer_idle_;
  const auto set = dedup_.find(message.sent_to);
  const DedupPolicy dedup = set == dedup_.end() ? DedupPolicy{} : set->second;
  if (dedup.mode == DedupMode::kReplace) return true;
  if (dedup.mode == DedupMode::kWindow) return clocks_jump_ || sent_ms - message.sent_ms >= dedup.window_ms;
  const Log& log = logs_.at(message.first->partition);
  const Slot& first = log.slots.at(message.first->lsn.value);
  return first.is_settled() || first.leaves_to.value != 0 || log.incomplete;
}

void Checker::learn_control(RecordPlace place, const RecordView& record) {
  if (record.header.type == RecordType::kPurge) return learn_purge(record.header.queue, place, true);
  const auto body = decode_control(record.header.type, record.body);
  if (!body) violated("a control record cannot be read" + at(place));
  std::vector<Slot>& slots = logs_[place.partition].slots;
  const auto slot_of = [&](Lsn lsn) -> Slot& {
    if (lsn >= place.lsn || !slots[lsn.value].message) violated("a record settles what is no message" + at(place));
    return slots[lsn.value];
  };
  if (const auto* acks = std::get_if<Acks>(&*body)) {
    for (const AckedMessage& ack : *acks) {
      Slot& slot = slot_of(ack.lsn);
      const Message& message = messages_[*slot.message];
      if (!may_be_gone(message) && message.place == slot.place) {
        violated("a message is settled that nobody could ack" + at({place.partition, ack.lsn}));
      }
      slot.settled = std::min(slot.settled, place.lsn);
    }
  } else if (const auto* returns = std::get_if<Returns>(&*body)) {
    for (const ReturnedMessage& returned : *returns) {
      learn_return(slot_of(returned.lsn), returned, record.header.epoch);
    }
  } else if (const auto* leases = std::get_if<Leases>(&*body)) {
    for (const LeasedMessage& leased : *leases) learn_lease(slot_of(leased.lsn), leased, logs_[place.partition]);
  }
}

// Of a key one message is out at a time, and none overtakes another that was not dead.
void Checker::learn_lease(Slot& slot, const LeasedMessage& leased, Log& log) {
  world_.note("lease", slot.place.lsn.value, slot.message ? *slot.message : 0, leased.lease.id.number.value);
  if (slot.key.value == 0) violated("a lease is logged of a message that has no key" + at(slot.place));
  if (!clocks_jump_ && slot.expires_ms.value != 0 && leased.lease.given_ms >= slot.expires_ms)
    violated("an expired message is handed out" + at(slot.place));
  if (slot.is_settled() || deleted_.contains(slot.queue)) return;
  if (slot.lease == leased.lease.id) return;  // it goes on
  if (slot.lease && !log.incomplete) violated("a second lease is logged of a message that is out" + at(slot.place));
  slot.lease = leased.lease.id;
  const auto [out, first] = log.out.try_emplace({slot.queue, slot.key}, slot.place.lsn);
  const Slot& other = log.slots[std::exchange(out->second, slot.place.lsn).value];
  if (log.incomplete) return;
  if (&other != &slot && other.lease && !other.is_settled())
    violated("two messages of a key are out" + at(other.place) + at(slot.place));
  for (Lsn lsn{1}; lsn < slot.place.lsn; ++lsn.value) {
    const Slot& before = log.slots[lsn.value];
    const bool same = before.message && before.queue == slot.queue && before.key == slot.key;
    if (!same || before.is_settled() || before.out_of_order) continue;
    const TimeMs expires = before.expires_ms;  // then it is only to be removed yet
    if (expires.value == 0 || (!clocks_jump_ && leased.lease.given_ms < expires))
      violated("a message overtakes another of its key" + at(before.place) + at(slot.place));
  }
}

void Checker::learn_return(Slot& slot, const ReturnedMessage& returned, Epoch epoch) {
  const ReturnState& state = returned.state;
  // Where some records were not seen, one of them may have brought it back to life.
  const bool revived = dead_letters_ && (state.is_empty() || logs_.at(slot.place.partition).incomplete);
  if (!revived && state.deliveries < slot.deliveries) {
    violated("the delivery count of a message falls from " + std::to_string(slot.deliveries) + " to " +
             std::to_string(state.deliveries) + at(slot.place));
  }
  world_.note("return", slot.place.lsn.value, *slot.message, static_cast<std::uint64_t>(state.move.cause));
  slot.deliveries = state.deliveries;
  slot.lease.reset();
  slot.out_of_order |= state.move.is_set();
  slot.leaves_to = state.move.to;
  if (state.move.is_set()) messages_[*slot.message].left[slot.place.partition] = epoch;
}

// What a row alone tells, a loss of power may undo.
void Checker::learn_purge(QueueId queue, RecordPlace place, bool committed) {
  const auto asked = purges_.find(queue);
  if (asked == purges_.end()) violated("a queue is purged that nobody purged" + at(place));
  Lsn& below = asked->second[place.partition];
  below = std::max(below, place.lsn);
  if (!committed) return;
  std::vector<Slot>& slots = logs_[place.partition].slots;
  for (std::size_t lsn = 1; lsn < std::min<std::size_t>(slots.size(), place.lsn.value); ++lsn) {
    Slot& slot = slots[lsn];
    if (slot.message && slot.queue == queue) slot.settled = std::min(slot.settled, place.lsn);
  }
}

// One turn may bring several versions of the set; a commit under any of them is one.
std::size_t Checker::least_in_sync(const Log& log, PartitionVersion before, PartitionVersion now) {
  const auto& versions = log.min_in_sync;
  std::size_t least = kNodesMax;
  for (auto at = versions.lower_bound(before); at != versions.end() && at->first <= now; ++at) {
    least = std::min<std::size_t>(least, at->second);
  }
  return least;
}

// What a replica applied is what was committed, and nothing that lives is missing.
void Checker::compare(const Node& node, const Partition& partition, const Log& log, Seen& seen) {
  const auto state = node.disk.partitions.find(partition.id());
  if (state == node.disk.partitions.end() || state->second.rebuilding || partition.rebuilding()) return;
  if (partition.replica().end_on_disk() < partition.applied()) return;  // a snapshot is on its way to the disk
  const std::vector<Slot>& slots = log.slots;
  const Lsn end = std::min({partition.applied(), state->second.next_lsn, Lsn{slots.size()}});
  for (; seen.applied < end; ++seen.applied.value) {
    const RecordPlace place{partition.id(), seen.applied};
    const Slot& slot = slots[place.lsn.value];
    const std::string* bytes = written(node, node.disk, place);
    if (bytes != nullptr && read_record_header(*bytes)->epoch < log.first_epoch) continue;
    if (bytes != nullptr && !slot.bytes.empty() && *bytes != slot.bytes) {
      violated(node.name() + " has another record than was committed" + at(place));
    }
    if (bytes == nullptr && !may_be_absent(slot)) violated(node.name() + " lacks a committed message" + at(place));
  }
}

// acked = live + ready + leased + done: what a replica's queues hold is what is committed and not settled. A snapshot
// may be ahead of the log.
void Checker::check_live(const Node& node, const Partition& partition) const {
  const Log& log = logs_.at(partition.id());
  if (log.incomplete || partition.rebuilding() || partition.replica().unclean()) return;
  if (partition.epoch() < log.first_epoch || log.slots.size() < partition.applied().value) return;
  for (Lsn lsn{1}; lsn < partition.applied(); ++lsn.value) {
    const Slot& slot = log.slots[lsn.value];
    if (!slot.message || deleted_.contains(slot.queue)) continue;
    const auto queue = partition.queues().find(slot.queue);
    const bool holds = queue != partition.queues().end() && queue->second.holds(lsn);
    if (holds && slot.settled < partition.applied()) {
      violated(node.name() + " still has a message that is settled" + at({partition.id(), lsn}));
    }
    if (!holds && !slot.is_settled()) violated(node.name() + " forgot a message" + at({partition.id(), lsn}));
  }
}

// What is on its way to another queue is not counted.
void Checker::check_limit(const Log& log, QueueId queue) const {
  const auto most = messages_max_.find(queue);
  if (most == messages_max_.end() || log.incomplete || deleted_.contains(queue)) return;
  if (flipped_) return;  // a leader does not count a message that it has set aside
  const auto counts = [queue](const Slot& slot) {
    return slot.message && slot.queue == queue && !slot.is_settled() && slot.leaves_to.value == 0;
  };
  const auto all = static_cast<std::uint64_t>(std::count_if(log.slots.begin(), log.slots.end(), counts));
  if (all <= most->second) return;
  std::string which;
  for (const Slot& slot : log.slots) which += counts(slot) ? at(slot.place) : "";
  violated("a queue has " + std::to_string(all) + " messages, and may have " + std::to_string(most->second) + which);
}

void Checker::catalog_changed(const CatalogChange& change) {
  if (const auto* worker = std::get_if<WorkerInfo>(&change)) {
    for (const auto& node : nodes_) {
      const bool known = worker->store_id == "store " + std::to_string(node->disk.store_id);
      if (node->name() == worker->name && known) wiped_.erase(node->endpoint());
    }
  }
  if (const auto* partition = std::get_if<PartitionInfo>(&change)) {
    if (world_.tracing()) world_.trace("metad: " + describe(*partition));
    logs_[partition->id].min_in_sync[partition->version] = partition->min_in_sync;
    check_copies(*partition);
  }
}

}  // namespace dmq::sim
