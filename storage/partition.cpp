// LSNs and appends of one partition.
#include "storage/partition.hpp"

namespace dmq {

void Partition::restore(const PartitionState& state) {
  state_.epoch = state.epoch;
  state_.next_lsn = std::max(state_.next_lsn, state.next_lsn);
  committed_next_ = state_.next_lsn;
}

void Partition::restore_message(Lsn lsn, const RecordHeader& header, std::uint32_t deliveries) {
  queues_[header.queue].append(lsn, static_cast<std::uint32_t>(record_bytes(header)), deliveries);
  state_.next_lsn = std::max(state_.next_lsn, Lsn{lsn.value + 1});
  committed_next_ = state_.next_lsn;
}

Result<void> Partition::lead(Epoch epoch, WriteBatch& writes) {
  if (epoch <= state_.epoch) {
    return fail(Errc::kInternal, "partition " + std::to_string(id_.value) + " was led here in epoch " +
                                     std::to_string(state_.epoch.value) + ", but metad gives epoch " +
                                     std::to_string(epoch.value) + ": was metad restored from a backup?");
  }
  state_.epoch = epoch;
  first_epoch_ = std::min(first_epoch_, epoch);
  leading_ = true;
  writes.partitions[id_] = state_;
  return {};
}

Result<Partition::Appended> Partition::append(const Sender& sender, const std::vector<const SendItem*>& items,
                                              TimeMs wall_now, WriteBatch& writes) {
  Appended appended{state_.next_lsn, 0};
  if (!sender.producer.empty()) {
    const auto taken = producers_.admit(sender.queue, sender.producer, sender.sequence, items.size(), wall_now, writes);
    if (!taken) return tl::unexpected<Error>(taken.error());
    appended.duplicates = *taken;
  }
  for (std::size_t i = appended.duplicates; i < items.size(); ++i) {
    RecordHeader header;
    header.epoch = state_.epoch;
    header.queue = sender.queue;
    header.sent_ms = wall_now;
    header.attribute_bytes = static_cast<std::uint32_t>(items[i]->attributes.size());
    header.body_bytes = static_cast<std::uint32_t>(items[i]->body.size());
    writes.messages.push_back({{id_, state_.next_lsn}, header, items[i]->attributes, items[i]->body});
    ++state_.next_lsn.value;
  }
  if (appended.duplicates < items.size()) writes.partitions[id_] = state_;
  return appended;
}

void Partition::committed(const WriteBatch& writes) {
  const auto state = writes.partitions.find(id_);
  if (state != writes.partitions.end()) committed_next_ = state->second.next_lsn;
  producers_.committed(writes);
}

void Partition::roll_back() {
  state_.next_lsn = committed_next_;
  producers_.roll_back();
}

Queue* Partition::find_queue(QueueId id) {
  const auto found = queues_.find(id);
  return found == queues_.end() ? nullptr : &found->second;
}

}  // namespace dmq
