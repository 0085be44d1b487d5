// metad of a simulated cluster: the real controller around a catalog that survives its crashes.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "metad/controller.hpp"
#include "tests/sim/network.hpp"

namespace dmq::sim {

using MetadAnswer = std::shared_ptr<const MetadReplyBody>;

class Metad {
 public:
  using Listener = std::function<void(const std::shared_ptr<const CatalogUpdate>&)>;
  // Sees each change that is durable.
  using Observer = std::function<void(const CatalogChange&)>;

  Metad(World& world, Network& network, std::uint16_t partitions, ClusterInfo cluster);

  // A request as it arrives. `reply` is called when it is answered; sending it is the caller's.
  void take(const MetadRequestBody& request, const std::function<void(MetadAnswer)>& reply);
  // An operator at the machine itself.
  MetadReplyBody ask(const ControllerEvent& event);
  // The feed arrives at this endpoint's listener, or does not.
  void listen(Endpoint endpoint, Listener listener) { listeners_[endpoint] = std::move(listener); }
  void observe(Observer observer) { observer_ = std::move(observer); }

  bool up() const { return controller_.has_value(); }
  void crash();
  void start();
  void set_commit_failures(double probability) { commit_failures_ = probability; }

  // What is durable.
  const PartitionInfo& partition(PartitionId id) const { return partitions_.at(id.value); }
  const QueueInfo* queue(std::string_view name) const;  // null: there is none
  const std::map<std::string, WorkerInfo>& workers() const { return workers_; }
  const ClusterInfo& cluster() const { return cluster_; }

 private:
  ControllerTime time() const;
  std::optional<MetadReplyBody> step(const ControllerEvent& event);
  void keep(const std::vector<CatalogChange>& changes);
  void publish(std::vector<CatalogChange> changes, CatalogVersion before);
  void tick(std::uint64_t life);
  CatalogImage image() const;
  std::int64_t heartbeat_ms() const { return world_.pace > 1 ? 50 : 100; }
  Controller::Settings settings() const;

  World& world_;
  Network& network_;
  std::optional<Controller> controller_;
  std::uint64_t life_ = 0;
  std::int64_t publish_due_ = 0;
  double commit_failures_ = 0;
  std::uint64_t kept_ = 0;  // changes
  std::map<Endpoint, Listener> listeners_;
  Observer observer_;
  // The durable catalog.
  CatalogCounters counters_;
  std::map<QueueId, QueueInfo> queues_;
  std::vector<QueueDeleted> deleted_;
  std::vector<PartitionInfo> partitions_;
  std::map<std::string, WorkerInfo> workers_;
  ClusterInfo cluster_;
};

}  // namespace dmq::sim
