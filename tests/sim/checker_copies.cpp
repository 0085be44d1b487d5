// Which disks have what is committed: rules 7, 8 and 13.
#include <algorithm>

#include "tests/sim/checker.hpp"

namespace dmq::sim {

// Committed means on the disks of min_in_sync replicas. A wiped disk had it, and so had a damaged one what is cut off
// to be repaired: they had said so before. What a replica appended while it was alone was committed then, whatever is
// asked for now.
void Checker::check_copies_enough(RecordPlace place, const Slot& slot, std::size_t least) const {
  if (slot.bytes.empty()) return;
  std::size_t copies = 0;
  const PartitionInfo& info = metad_.partition(place.partition);
  for (const auto& node : nodes_) {
    const std::string* bytes = written(*node, node->synced(), place);
    const bool had = had_.contains({node->endpoint(), place}) && had_.at({node->endpoint(), place}) == slot.bytes;
    const bool here = bytes != nullptr && *bytes == slot.bytes;
    if (!here && must_have(info, *node) && !may_be_absent(slot)) lacks(*node, place);
    copies += had || here ? 1 : 0;
  }
  if (copies < least) {
    violated("committed on " + std::to_string(copies) + " disks, fewer than min_in_sync" + at(place));
  }
}

bool Checker::must_have(const PartitionInfo& info, const Node& node) const {
  return !wiped_.contains(node.endpoint()) && (lists(info.in_sync, node.name()) || lists(info.eligible, node.name()));
}

void Checker::lacks(const Node& node, RecordPlace place) {
  violated(node.name() + " is in sync or eligible and lacks what is committed" + at(place));
}

bool Checker::may_be_absent(const Slot& slot) const {
  if (!slot.message || slot.is_settled()) return true;
  const Message& message = messages_[*slot.message];
  return may_be_gone(message) || deleted_.contains(slot.queue) || message.place != slot.place;
}

void Checker::check_copies(const PartitionInfo& info) const {
  const auto log = logs_.find(info.id);
  if (log == logs_.end()) return;
  for (const auto& node : nodes_) {
    if (!must_have(info, *node)) continue;
    for (std::size_t lsn = 1; lsn < log->second.slots.size(); ++lsn) {
      const Slot& slot = log->second.slots[lsn];
      if (may_be_absent(slot)) continue;
      const RecordPlace place{info.id, {lsn}};
      const std::string* bytes = written(*node, node->synced(), place);
      if (bytes == nullptr || *bytes != slot.bytes) lacks(*node, place);
    }
  }
}

void Checker::wiped(const Node& node) {
  wiped_.insert(node.endpoint());
  remember(node);
}

void Checker::remember(const Node& node) {
  for (const auto& [place, bytes] : node.disk.records) {
    had_[{node.endpoint(), place}] = *written(node, node.disk, place);
  }
}

// --- damage ----------------------------------------------------------------------------------------------------------

void Checker::flipped(const Node& node, RecordPlace place, const std::string& before) {
  flipped_ = true;
  flips_.try_emplace({node.endpoint(), place}, Flip{before, {}}).first->second.after.insert(*node.disk.find(place));
  harmed_.insert(node.endpoint());
  remember(node);
}

const std::string* Checker::written(const Node& node, const Disk& disk, RecordPlace place) const {
  const std::string* bytes = disk.find(place);
  if (bytes == nullptr || flips_.empty()) return bytes;
  const auto flip = flips_.find({node.endpoint(), place});
  return flip != flips_.end() && flip->second.after.contains(*bytes) ? &flip->second.before : bytes;
}

std::optional<Endpoint> Checker::damaged() {
  std::erase_if(flips_, [this](const auto& flip) {
    const std::string* bytes = nodes_[flip.first.first]->disk.find(flip.first.second);
    return bytes == nullptr || !flip.second.after.contains(*bytes);
  });
  return flips_.empty() ? std::nullopt : std::optional(flips_.begin()->first.first);
}

}  // namespace dmq::sim
