// The invariants of replication (docs/architecture.md), on what is seen of all replicas at once.
#include "tests/sim/checker.hpp"

#include <algorithm>

#include "tests/sim/describe.hpp"

namespace dmq::sim {
namespace {

std::string at(RecordPlace place) {
  return " (partition " + std::to_string(place.partition.value) + ", LSN " + std::to_string(place.lsn.value) + ")";
}

}  // namespace

void Checker::observe(Node& node) {
  const bool thorough = ++observed_ % 16 == 0;
  for (const auto& [id, partition] : node.service()->partitions()) {
    Seen& seen = seen_[{node.endpoint(), id}];
    check_role(node, partition, seen);
    if (world_.tracing()) world_.trace("  " + node.name() + " " + describe(partition));
    learn(node, partition, seen);
    compare(node, partition, seen);
    if (!thorough) continue;
    for (const auto& [queue, core] : const_cast<Partition&>(partition).queues()) core.check_invariants();
  }
  if (thorough && metad_.up()) metad_.check_invariants();
}

void Checker::check_role(const Node& node, const Partition& partition, Seen& seen) {
  const Replica& replica = partition.replica();
  if (seen.life != node.life() || seen.generation != partition.generation()) {
    seen = {node.life(), partition.generation(), Lsn{1}, partition.epoch()};
  }
  must(partition.epoch() >= seen.epoch, "a replica's epoch never falls");
  seen.epoch = partition.epoch();
  if (!replica.leads()) return;
  const auto [leader, first] =
      logs_[partition.id()].leaders.emplace(replica.epoch(), std::pair(node.endpoint(), replica.session()));
  must(first || leader->second == std::pair(node.endpoint(), replica.session()), "an epoch has one leader");
}

// Whoever first knows of a commit has the records. That is the leader, or who led until a moment ago: one turn may
// bring the commit and the next term. Followers know what they were told; where records have gone already, they tell
// nothing.
void Checker::learn(const Node& node, const Partition& partition, Seen& seen) {
  Log& log = logs_[partition.id()];
  const Replica& replica = partition.replica();
  if (partition.rebuilding() || replica.epoch() < log.first_epoch) return;
  const Lsn commit = std::min(replica.commit(), replica.end_on_disk());
  const std::size_t least = least_in_sync(partition.id(), seen, replica.set().version);
  seen.version = replica.set().version;
  while (log.slots.size() < commit.value) {
    const RecordPlace place{partition.id(), {log.slots.size()}};
    if (!replica.leads() && node.disk.find(place) == nullptr) return;
    log.slots.emplace_back();
    log.slots.back() = read_slot(node, place);
    if (place.lsn >= partition.trimmed()) check_copies_enough(place, log.slots.back(), least);
    ++committed_;
  }
}

Checker::Slot Checker::read_slot(const Node& node, RecordPlace place) {
  Slot slot;
  const std::string* bytes = node.disk.find(place);
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
  Message& message = messages_[*slot.message];
  if (message.place) violated("a message that was sent once is in the log twice" + at(*message.place) + at(place));
  if (message.queue != record->header.queue) violated("a message is in another queue than it was sent to" + at(place));
  message.place = place;
  return slot;
}

void Checker::learn_control(RecordPlace place, const RecordView& record) {
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
      if (!messages_[*slot.message].may_be_gone()) {
        violated("a message is settled that nobody could ack" + at({place.partition, ack.lsn}));
      }
      slot.settled = true;
    }
  } else if (const auto* returns = std::get_if<Returns>(&*body)) {
    for (const ReturnedMessage& returned : *returns) {
      Slot& slot = slot_of(returned.lsn);
      if (returned.deliveries < slot.deliveries) {
        violated("the delivery count of a message falls" + at({place.partition, returned.lsn}));
      }
      slot.deliveries = returned.deliveries;
    }
  }
}

// One turn may bring several versions of the set; a commit under any of them is one.
std::size_t Checker::least_in_sync(PartitionId id, const Seen& seen, PartitionVersion now) const {
  const auto& versions = logs_.at(id).min_in_sync;
  std::size_t least = kNodesMax;
  for (auto at = versions.lower_bound(seen.version); at != versions.end() && at->first <= now; ++at) {
    least = std::min<std::size_t>(least, at->second);
  }
  return least;
}

// Committed means on the disks of min_in_sync replicas. A wiped disk had it. What a replica appended while it was alone
// was committed then, whatever is asked for now.
void Checker::check_copies_enough(RecordPlace place, const Slot& slot, std::size_t least) const {
  if (slot.bytes.empty()) return;
  std::size_t copies = 0;
  for (const auto& node : nodes_) {
    const std::string* bytes = node->disk.find(place);
    const bool had = had_.contains({node->endpoint(), place}) && had_.at({node->endpoint(), place}) == slot.bytes;
    copies += had || (bytes != nullptr && *bytes == slot.bytes) ? 1 : 0;
  }
  if (copies < least) {
    violated("committed on " + std::to_string(copies) + " disks, fewer than min_in_sync" + at(place));
  }
}

// What a replica applied is what was committed, and nothing that lives is missing.
void Checker::compare(const Node& node, const Partition& partition, Seen& seen) {
  const auto state = node.disk.partitions.find(partition.id());
  if (state == node.disk.partitions.end() || state->second.rebuilding || partition.rebuilding()) return;
  if (partition.replica().end_on_disk() < partition.applied()) return;  // a snapshot is on its way to the disk
  const std::vector<Slot>& slots = logs_[partition.id()].slots;
  const Lsn end = std::min({partition.applied(), state->second.next_lsn, Lsn{slots.size()}});
  for (; seen.applied < end; ++seen.applied.value) {
    const RecordPlace place{partition.id(), seen.applied};
    const Slot& slot = slots[place.lsn.value];
    const std::string* bytes = node.disk.find(place);
    if (bytes != nullptr && read_record_header(*bytes)->epoch < logs_[partition.id()].first_epoch) continue;
    if (bytes != nullptr && !slot.bytes.empty() && *bytes != slot.bytes) {
      violated(node.name() + " has another record than was committed" + at(place));
    }
    if (bytes == nullptr && !may_be_absent(slot)) violated(node.name() + " lacks a committed message" + at(place));
  }
}

bool Checker::may_be_absent(const Slot& slot) const {
  if (!slot.message || slot.settled) return true;
  const Message& message = messages_[*slot.message];
  return message.may_be_gone() || deleted_.contains(message.queue);
}

void Checker::wiped(const Node& node) {
  wiped_.insert(node.endpoint());
  for (const auto& [place, bytes] : node.disk.records) had_[{node.endpoint(), place}] = bytes;
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

void Checker::check_copies(const PartitionInfo& info) const {
  const auto log = logs_.find(info.id);
  if (log == logs_.end()) return;
  for (const auto& node : nodes_) {
    if (wiped_.contains(node->endpoint())) continue;
    if (!lists(info.in_sync, node->name()) && !lists(info.eligible, node->name())) continue;
    for (std::size_t lsn = 1; lsn < log->second.slots.size(); ++lsn) {
      const Slot& slot = log->second.slots[lsn];
      if (may_be_absent(slot)) continue;
      const std::string* bytes = node->disk.find({info.id, {lsn}});
      if (bytes != nullptr && *bytes == slot.bytes) continue;
      violated(node->name() + " is in sync or eligible and lacks what is committed" + at({info.id, {lsn}}));
    }
  }
}

}  // namespace dmq::sim
