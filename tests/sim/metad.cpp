// The turns of metad's daemon, each of one request.
#include "tests/sim/metad.hpp"

namespace dmq::sim {
namespace {

constexpr std::int64_t kPublishMs = 250;

}  // namespace

Controller::Settings Metad::settings() const {
  return {.heartbeat = DurationMs{heartbeat_ms()},
          .missed_heartbeats = world_.pace > 1 ? 3U : 5U,
          .feed_endpoint = "feed",
          .handover_after = DurationMs{300 / world_.pace},
          .replace_after = DurationMs{700 / world_.pace}};
}

Metad::Metad(World& world, Network& network, std::uint16_t partitions, ClusterInfo cluster)
    : world_(world), network_(network), cluster_(cluster) {
  counters_.partitions = partitions;
  for (std::uint16_t i = 0; i < partitions; ++i) {
    partitions_.push_back({.id = {i}, .min_in_sync = cluster.min_in_sync});
  }
  start();
}

ControllerTime Metad::time() const { return {{world_.now()}, {1'000'000 + world_.now()}}; }

CatalogImage Metad::image() const {
  CatalogImage out{counters_, {}};
  for (const auto& [id, queue] : queues_) out.records.emplace_back(queue);
  for (const QueueDeleted& deleted : deleted_) out.records.emplace_back(deleted);
  for (const PartitionInfo& partition : partitions_) {
    if (partition.version.value != 0) out.records.emplace_back(partition);
  }
  for (const auto& [name, worker] : workers_) out.records.emplace_back(worker);
  out.records.emplace_back(cluster_);
  return out;
}

const QueueInfo* Metad::queue(std::string_view name) const {
  for (const auto& [id, queue] : queues_) {
    if (queue.name == name) return &queue;
  }
  return nullptr;
}

void Metad::crash() {
  world_.note("metad crashes");
  controller_.reset();
}

void Metad::start() {
  world_.note("metad starts");
  controller_.emplace(image(), settings());
  world_.in(1, [this, life = ++life_] { tick(life); });
}

void Metad::tick(std::uint64_t life) {
  if (life != life_ || !up()) return;
  step(ControllerTick{});
  if (world_.now() >= publish_due_) publish({}, counters_.version);
  world_.in(heartbeat_ms() / 2, [this, life] { tick(life); });
}

void Metad::take(const MetadRequestBody& request, const std::function<void(MetadAnswer)>& reply) {
  if (!up()) return;
  auto answer = step(std::visit([](const auto& body) { return ControllerEvent(body); }, request));
  if (answer) reply(std::make_shared<const MetadReplyBody>(std::move(*answer)));
}

MetadReplyBody Metad::ask(const ControllerEvent& event) {
  if (!up()) return Error{Errc::kUnavailable, {}};
  return step(event).value_or(Done{});
}

// Empty for a tick.
std::optional<MetadReplyBody> Metad::step(const ControllerEvent& event) {
  ControllerEffects effects = controller_->step(time(), event);
  if (controller_->counters() == counters_) {
    controller_->keep();
    return std::move(effects.reply);
  }
  if (commit_failures_ > 0 && world_.random.chance(commit_failures_)) {
    world_.note("metad cannot write");
    controller_->undo();
    if (effects.reply) effects.reply = Error{Errc::kInsufficientStorage, {}};
    return std::move(effects.reply);
  }
  controller_->keep();
  const CatalogVersion before = counters_.version;
  counters_ = controller_->counters();
  keep(effects.changes);
  publish(std::move(effects.changes), before);
  return std::move(effects.reply);
}

void Metad::keep(const std::vector<CatalogChange>& changes) {
  for (const CatalogChange& change : changes) {
    if (const auto* queue = std::get_if<QueueInfo>(&change)) {
      queues_[queue->id] = *queue;
    } else if (const auto* deleted = std::get_if<QueueDeleted>(&change)) {
      queues_.erase(deleted->id);
      deleted_.push_back(*deleted);
    } else if (const auto* partition = std::get_if<PartitionInfo>(&change)) {
      PartitionInfo& known = partitions_.at(partition->id.value);
      must(partition->version > known.version, "metad: the version of a partition grows");
      must(partition->epoch >= known.epoch, "metad: the epoch of a partition never falls");
      known = *partition;
    } else if (const auto* worker = std::get_if<WorkerInfo>(&change)) {
      workers_[worker->name] = *worker;
    } else if (const auto* cluster = std::get_if<ClusterInfo>(&change)) {
      cluster_ = *cluster;
    } else if (const auto* forgotten = std::get_if<WorkerForgotten>(&change)) {
      workers_.erase(forgotten->name);
    }
    if (observer_) observer_(change);
  }
  if (++kept_ % 4 == 0) controller_->check_invariants();
}

void Metad::publish(std::vector<CatalogChange> changes, CatalogVersion before) {
  publish_due_ = world_.now() + kPublishMs / world_.pace;
  const auto update = std::make_shared<const CatalogUpdate>(
      CatalogUpdate{counters_.generation, before, counters_.version, std::move(changes)});
  for (const auto& [endpoint, listener] : listeners_) {
    network_.send(kMetad, endpoint, true, [&heard = listener, update] { heard(update); });
  }
}

}  // namespace dmq::sim
