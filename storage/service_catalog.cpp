// Following the catalog: which partitions are led or followed here, which queues are gone.
#include <algorithm>

#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr std::size_t kRemovePerTick = 5000;

}  // namespace

Result<void> Service::follow_catalog(SessionId session, const CatalogChange* change, const Now& now, Turn& turn,
                                     Outbox& out) {
  if (change != nullptr && std::holds_alternative<QueueInfo>(*change)) return {};
  if (change != nullptr && std::holds_alternative<QueueDeleted>(*change)) {
    const QueueId id = std::get<QueueDeleted>(*change).id;
    for (const auto& [partition, core] : partitions_) drop_queue({partition, id}, turn.effects, out);
    return {};
  }
  if (change == nullptr) {
    std::vector<QueueKey> gone;
    for (auto& [id, partition] : partitions_) {
      for (const auto& [queue, core] : partition.queues()) {
        if (catalog_.is_deleted(queue)) gone.push_back({id, queue});
      }
    }
    for (const QueueKey& key : gone) drop_queue(key, turn.effects, out);
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
  advance(core, now, turn, out);
  watch(core);
  return {};
}

// Leases that go on, and messages that were delayed, have their times.
void Service::begin_leading(Partition& partition) {
  for (const auto& [id, queue] : partition.queues()) watch({partition.id(), id}, queue);
}

void Service::stop_leading(Partition& partition, Outbox& out) {
  if (!partition.replica().leads()) {
    partition.resign();
    unpark(partition.id(), out);
  }
  if (partition.replica().alone()) return;
  for (PendingReply& reply : partition.waiting()) {
    out.replies.push_back({std::move(reply.to), encode_reply_header(reply.id, leader_changed()), {}});
  }
  partition.waiting().clear();
}

void Service::drop_queue(const QueueKey& key, WriteBatch& effects, Outbox& out) {
  const auto partition = partitions_.find(key.partition);
  if (partition == partitions_.end()) return;
  partition->second.producers().forget_queue(key.queue, effects);
  if (const Queue* queue = partition->second.find_queue(key.queue)) {
    doomed_.push_back({key.partition, queue->all(), queue->counts().stored});
    partition->second.queues().erase(key.queue);
  }
  const auto waiting = parked_.find(key);
  if (waiting == parked_.end()) return;
  for (const auto& [ticket, parked] : waiting->second) {
    out.replies.push_back(
        {parked.to, encode_reply_header(parked.id, {Errc::kNoSuchQueue, "the queue was deleted"}), {}});
    parked_until_.erase({parked.until, key, ticket});
  }
  parked_.erase(waiting);
}

void Service::remove_doomed(WriteBatch& effects) {
  if (doomed_.empty()) return;
  Doomed& doomed = doomed_.front();
  for (std::size_t i = 0; i < kRemovePerTick && !doomed.lsns.empty(); ++i) {
    const RecordPlace place{doomed.partition, doomed.lsns.back()};
    doomed.lsns.pop_back();
    effects.removals.push_back(place);
    effects.returns[place] = {};
  }
  if (!doomed.lsns.empty()) return;
  stored_ -= std::min(stored_, doomed.stored);
  doomed_.pop_front();
}

}  // namespace dmq
