// What each event does: the dispatch, queues, and what only reads.
#include "metad/controller.hpp"

#include <algorithm>
#include <bit>

#include "metad/controller_turn.hpp"
#include "protocol/invariant.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/partitioner.hpp"

namespace dmq {
namespace {

Result<void> check_settings(const std::string& queue, const QueueSettings& settings, std::uint16_t partitions) {
  if (settings.lease_ms.value < kLeaseMsMin || settings.lease_ms.value > kLeaseMsMax) {
    return fail(Errc::kInvalidArgument, "`lease_ms` must be from 100 to 43200000");
  }
  if (settings.dead_letter == queue) {
    return fail(Errc::kInvalidArgument, "`dead_letter` must be another queue than '" + queue + "' itself");
  }
  if (settings.partitions > partitions) {
    return fail(Errc::kInvalidArgument, "`partitions` is at most " + std::to_string(partitions) +
                                            ": so many partitions this cluster has for all queues");
  }
  if (settings.key_partitions > settings.partitions || std::popcount(settings.key_partitions) > 1) {
    return fail(Errc::kInvalidArgument, "`key_partitions` is 1, 2, 4, 8, ..., and not more than `partitions`");
  }
  return {};
}

// The partition that a request is about; none for what names no partition.
template <class Request>
std::optional<PartitionId> partition_named(const Request& request) {
  if constexpr (requires { PartitionId{request.partition}; }) return request.partition;
  return std::nullopt;
}

}  // namespace

Controller::Controller(CatalogImage image, Settings settings)
    : settings_(std::move(settings)), counters_(image.counters), partitions_(counters_.partitions) {
  for (std::uint16_t i = 0; i < counters_.partitions; ++i) partitions_[i].info.id = PartitionId{i};
  for (CatalogChange& record : image.records) {
    if (auto* queue = std::get_if<QueueInfo>(&record)) {
      settle(*queue);
      queues_[queue->name] = std::move(*queue);
    } else if (auto* deleted = std::get_if<QueueDeleted>(&record)) {
      // Its other partitions hold nothing any more that is to be kept.
      partitions_[partition_of(deleted->name, counters_.partitions).value].settled = true;
      deleted_.push_back(deleted->id);
    } else if (auto* partition = std::get_if<PartitionInfo>(&record)) {
      check_invariant(partition->id.value < partitions_.size(), "a stored partition is one of the cluster's");
      partitions_[partition->id.value].info = std::move(*partition);
    } else if (auto* worker = std::get_if<WorkerInfo>(&record)) {
      if (worker->alive) members_[worker->session] = {worker->name, RegisterMember::Role::kWorker, 0};
      workers_[worker->name].info = std::move(*worker);
    } else if (auto* cluster = std::get_if<ClusterInfo>(&record)) {
      cluster_ = *cluster;
    }
  }
  for (Partition& partition : partitions_) {
    if (partition.info.version.value == 0) partition.info.min_in_sync = cluster_.min_in_sync;
  }
}

ControllerEffects Controller::step(ControllerTime now, const ControllerEvent& event) {
  const std::int64_t passed = last_step_ ? now.steady.value - last_step_->value : 0;
  check_invariant(passed >= 0, "the steady clock never goes back");
  listened_ms_ += std::min(passed, settings_.heartbeat.value);
  last_step_ = now.steady;

  ControllerEffects effects;
  Turn turn{now.wall, effects.changes};
  std::visit(
      [&](const auto& what) {
        if constexpr (std::is_same_v<std::decay_t<decltype(what)>, ControllerTick>) {
          expire_members(turn);
          tend_moves(turn);
          even_out_leaders(turn);
        } else if (partition_named(what).value_or(PartitionId{0}).value >= partitions_.size()) {
          effects.reply = Error{Errc::kInvalidArgument, "there is no such partition; they are counted from 0"};
        } else {
          effects.reply = handle(what, turn);
        }
      },
      event);
  return effects;
}

void Controller::undo() {
  for (; !undo_.empty(); undo_.pop_back()) undo_.back()();
  looked_ = {};
}

MetadReplyBody Controller::handle(const GetSnapshot&, Turn&) {
  CatalogSnapshot out = snapshot();
  out.waiting = static_cast<std::uint32_t>(moves_to_come());
  return out;
}

MetadReplyBody Controller::handle(const CreateQueue& create, Turn& turn) {
  if (auto good = check_queue_name(create.name); !good) return good.error();
  if (auto good = check_settings(create.name, create.settings, counters_.partitions); !good) return good.error();
  QueueSettings settings = create.settings;
  if (settings.partitions > 1 && settings.key_partitions == 0)
    settings.key_partitions = std::bit_floor(settings.partitions);
  if (const auto found = queues_.find(create.name); found != queues_.end()) {
    if (create.only_if_absent || found->second.settings == settings) return found->second;
    return Error{Errc::kQueueExists, "queue '" + create.name + "' exists with other settings"};
  }
  if (auto good = add_dead_letter(create.name, settings, turn); !good) return good.error();
  auto queue = add_queue(create.name, settings, turn);
  if (!queue) return queue.error();
  return *queue;
}

Result<QueueInfo> Controller::add_queue(const std::string& name, const QueueSettings& settings, Turn& turn) {
  if (queues_.size() >= kQueuesMax) {
    return fail(Errc::kInsufficientStorage, "the catalog holds 1,000,000 queues, as many as it can");
  }
  if (queues_.size() + deleted_.size() >= kQueueIdsMax) {
    return fail(Errc::kInsufficientStorage, "the catalog has seen 10,000,000 queues, as many as it can");
  }
  undo_.emplace_back([this, before = counters_.last_queue] { counters_.last_queue = before; });
  counters_.last_queue.value += 1;
  QueueInfo queue{counters_.last_queue, name, partition_of(name, counters_.partitions), turn.wall, settings};
  put(turn, queue);
  return queue;
}

// Where a queue's dead messages go is there, with default settings if nobody made it before.
Result<void> Controller::add_dead_letter(const std::string& queue, const QueueSettings& settings, Turn& turn) {
  const std::string& name = settings.dead_letter;
  if (name.empty() || queues_.contains(name)) return {};
  auto added = add_queue(name, {}, turn);
  if (!added) return fail(added.error().code, "the dead-letter queue of '" + queue + "': " + added.error().context);
  return {};
}

MetadReplyBody Controller::handle(const UpdateQueue& update, Turn& turn) {
  if (auto good = check_settings(update.name, update.settings, counters_.partitions); !good) return good.error();
  const auto found = queues_.find(update.name);
  if (found == queues_.end()) return Error{Errc::kNoSuchQueue, "there is no queue '" + update.name + "'"};
  QueueInfo queue = found->second;
  if (queue.settings == update.settings) return queue;
  if (queue.version != update.version) {
    return Error{Errc::kUnavailable, "the settings of queue '" + update.name + "' were changed meanwhile; try again"};
  }
  if (update.settings.partitions < queue.settings.partitions) {
    return Error{Errc::kInvalidArgument, "`partitions` of queue '" + update.name + "' is " +
                                             std::to_string(queue.settings.partitions) + ", and never falls"};
  }
  if (update.settings.key_partitions != queue.settings.key_partitions) {
    return Error{Errc::kInvalidArgument, "`key_partitions` is said when a queue is created, and never changes"};
  }
  if (auto good = add_dead_letter(update.name, update.settings, turn); !good) return good.error();
  queue.settings = update.settings;
  ++queue.version;
  put(turn, queue);
  return queue;
}

MetadReplyBody Controller::handle(const DeleteQueue& remove, Turn& turn) {
  const auto found = queues_.find(remove.name);
  if (found == queues_.end()) return Error{Errc::kNoSuchQueue, "there is no queue '" + remove.name + "'"};
  QueueDeleted deleted{found->second.id, remove.name};
  put(turn, deleted);
  return deleted;
}

CatalogSnapshot Controller::snapshot() const {
  CatalogSnapshot out;
  out.generation = counters_.generation;
  out.version = counters_.version;
  out.partitions = counters_.partitions;
  out.queues.reserve(queues_.size());
  for (const auto& [name, queue] : queues_) out.queues.push_back(queue);
  out.deleted = deleted_;
  for (const Partition& partition : partitions_) out.partition_infos.push_back(partition.info);
  for (const auto& [name, worker] : workers_) out.workers.push_back(worker.info);
  out.cluster = cluster_;
  return out;
}

}  // namespace dmq
