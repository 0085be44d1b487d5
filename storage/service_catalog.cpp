// Following the catalog: which partitions are led or followed here, which queues are gone.
#include <algorithm>

#include "protocol/parts.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kRemovePerTick = 5000;
constexpr DurationMs kDropEvery{1000};

}  // namespace

Result<void> Service::follow_catalog(SessionId session, const CatalogChange* change, const Now& now, Turn& turn,
                                     Outbox& out) {
  if (const auto* queue = change == nullptr ? nullptr : std::get_if<QueueInfo>(change)) {
    for (std::uint16_t part = 0; part < queue->settings.partitions; ++part)  // it may be resumed
      serve({place_of_part(*queue, part, catalog_.partitions()), queue->id}, now, out);
    return {};
  }
  if (change != nullptr && std::holds_alternative<QueueDeleted>(*change)) {
    note_deleted(std::get<QueueDeleted>(*change).id, out);
    drop_deleted(now, turn);
    return {};
  }
  if (change == nullptr) {
    for (const QueueId id : catalog_.deleted()) note_deleted(id, out);
    for (const auto& [id, partition] : partitions_) serve_all(id, now, out);
  }
  return follow_partitions(session, now, turn, out);
}

Result<void> Service::follow_partitions(SessionId session, const Now& now, Turn& turn, Outbox& out) {
  const WorkerInfo* self = catalog_.find_worker(worker_name_);
  // What the catalog says of an older session of this worker is not for this process.
  if (self == nullptr || self->session != session) return {};
  for (std::uint16_t i = 0; i < catalog_.partitions(); ++i) {
    const PartitionInfo* info = catalog_.find_partition({i});
    if (info == nullptr) continue;
    const bool ours = lists(info->replicas, worker_name_) || partitions_.contains(info->id);
    if (!ours) continue;
    if (auto followed = follow_partition(*info, session, now, turn, out); !followed) return followed;
  }
  return {};
}

Result<void> Service::follow_partition(const PartitionInfo& info, SessionId session, const Now& now, Turn& turn,
                                       Outbox& out) {
  Partition& core = partition(info.id);
  Replica& replica = core.replica();
  const bool led = replica.leads();
  const bool changed = replica.follow(catalog_.cluster().id, info, session, now.steady);
  replica.needs_ticks() ? replicated_.insert(info.id).second : replicated_.erase(info.id);
  if (changed && led) stop_leading(core, out);
  if (changed && core.rebuilding() && info.leader == worker_name_) {
    out.notices.push_back("partition " + std::to_string(info.id.value) +
                          " is not served: what is here of it is not whole, and no worker that is there has all of it");
  }
  if (changed && replica.leads()) {
    if (auto leads = core.lead(turn, now); !leads) return leads;
    begin_leading(core);
  } else if (auto noted = core.note_epoch(); !noted) {
    return noted;
  }
  drop_deleted(now, turn);
  advance(core, now, turn, out);
  watch(core);
  return {};
}

// Leases that go on, and messages that were delayed, have their times.
void Service::begin_leading(Partition& partition) {
  comparisons_.erase(partition.id());
  // Of a deletion this worker may have heard before a snapshot brought the queue.
  const auto note = [&](QueueId queue) {
    if (catalog_.is_deleted(queue)) deleted_.insert({partition.id(), queue});
  };
  for (const auto& [id, queue] : partition.queues()) {
    watch({partition.id(), id}, queue);
    note(id);
  }
  for (const auto& [key, entry] : partition.producers().table()) note(key.first);
}

void Service::stop_leading(Partition& partition, Outbox& out) {
  end_transfers(partition.id());
  partition.taken().clear();
  if (!partition.replica().leads()) {
    partition.resign();
    end_receivers(partition.id(), out);
  }
  if (partition.replica().alone()) return;
  for (PendingReply& reply : partition.waiting()) {
    out.replies.push_back({std::move(reply.to), encode_reply_header(reply.id, leader_changed()), {}});
  }
  partition.waiting().clear();
}

// Who waits for its messages is told at once, by every replica. That they are gone, the log says.
void Service::note_deleted(QueueId queue, Outbox& out) {
  for (const auto& [id, core] : partitions_) {
    const QueuePlace key{id, queue};
    meters_.erase(key);
    if (core.has(queue)) deleted_.insert(key);
    for (Receiver& each : receivers_.take_all(key)) {
      out.replies.push_back(
          {std::move(each.to), encode_reply_header(each.id, {Errc::kNoSuchQueue, "the queue was deleted"}), {}});
    }
  }
}

// One that cannot be logged now, as too few replicas are in sync or another worker leads, stays noted.
void Service::drop_deleted(const Now& now, Turn& turn) {
  drops_due_ = now.steady + kDropEvery;
  for (const QueuePlace& key : deleted_) {
    Partition& core = partitions_.at(key.partition);
    if (core.replica().takes_appends() && core.has(key.queue) && !core.is_dropping(key.queue))
      core.append_control(RecordType::kDropQueue, key.queue, {}, now, turn);
  }
  forget_dropped();
}

void Service::forget_dropped() {
  std::erase_if(deleted_, [&](const QueuePlace& key) { return !partitions_.at(key.partition).has(key.queue); });
}

std::optional<PartitionId> Service::next_removable() const {
  const auto found = std::find_if(emptied_.begin(), emptied_.end(),
                                  [this](PartitionId id) { return partitions_.at(id).has_removable(); });
  return found == emptied_.end() ? std::nullopt : std::optional(*found);
}

void Service::remove_dropped(WriteBatch& effects) {
  const auto next = next_removable();
  if (!next) return;
  Partition& core = partitions_.at(*next);
  core.remove_dropped(kRemovePerTick, effects);
  if (!core.has_dropped()) emptied_.erase(core.id());
}

}  // namespace dmq
