// What goes wrong in a simulated cluster: which kinds a seed brings, and how each strikes.
#include <algorithm>

#include "tests/sim/simulation.hpp"

namespace dmq::sim {
namespace {

constexpr std::int64_t kFaults = static_cast<std::int64_t>(Fault::kCount);
constexpr std::int64_t kBriefPace = 4;
constexpr double kBrief = 0.85;

// Some seeds are quiet, some bring one kind of fault, some a few, some all of them.
std::set<Fault> some_faults(Random& random) {
  const std::int64_t mix = random.below(10);
  std::set<Fault> faults;
  if (mix == 0) return faults;
  if (mix <= 4) return {static_cast<Fault>(random.below(kFaults))};
  for (std::int64_t i = 0; i < kFaults; ++i) {
    if (mix >= 8 || random.chance(0.3)) faults.insert(static_cast<Fault>(i));
  }
  return faults;
}

NetworkFaults some_network(Random& random) {
  NetworkFaults network;
  network.delay_ms = random.chance(0.3) ? random.between(1, 40) : random.between(0, 3);
  if (random.chance(0.4)) network.loss = static_cast<double>(random.below(31)) / 100;
  if (random.chance(0.3)) network.duplication = static_cast<double>(random.below(20)) / 100;
  if (random.chance(0.3)) network.late = static_cast<double>(random.below(15)) / 100;
  return network;
}

}  // namespace

// Most histories are brief: few workers, and what clients, faults and metad do takes a quarter of the time. They cost a
// third of the others, so that many beginnings are tried; what takes long (a follower is given up) comes in the others.
Plan plan_of(World& world, std::uint64_t seed) {
  Random& random = world.random;
  const bool brief = random.chance(kBrief);
  if (brief) world.pace = kBriefPace;
  Plan plan;
  plan.nodes = brief ? 3 : static_cast<std::size_t>(random.between(3, kNodesMax));
  if (random.chance(0.2)) plan.late_nodes = plan.nodes > 3 ? 1 : 0;
  plan.partitions = random.chance(0.25) ? 2 : 1;
  const auto factor = static_cast<std::uint8_t>(random.chance(0.7) ? 3 : random.between(1, 3));
  const auto least = static_cast<std::uint8_t>(random.chance(0.7) ? (factor + 1) / 2 : random.between(1, factor));
  plan.cluster = {77, factor, least};
  plan.faults = some_faults(random);
  plan.network = plan.faults.empty() && random.chance(0.5) ? NetworkFaults{} : some_network(random);
  if (random.chance(0.5)) {
    plan.node.limits.partition = {
        static_cast<std::uint64_t>(random.between(1, 20)), static_cast<std::size_t>(random.between(1, 600)),
        static_cast<std::size_t>(random.between(1, 5)), static_cast<std::uint64_t>(random.between(1, 1000))};
  }
  if (random.chance(0.3)) {
    plan.node.limits.scrub_bytes_per_s = 1'000'000;
    plan.node.limits.scrub_every = DurationMs{random.between(20, 200)};
  }
  plan.node.commit_ms = random.chance(0.3) ? random.between(1, 50) : 3;
  plan.node.inline_commits = random.chance(0.3) ? 0 : 0.5;
  if (random.chance(0.2)) plan.vanishing = 0.1;
  plan.random_ms =
      !brief && random.chance(0.1) ? random.between(1500, 4000) : world.span(brief ? 100 : 300, brief ? 900 : 1200);
  // Without jumps of clocks it can be said who may be forgotten.
  if (plan.random_ms > 1500 && !plan.faults.contains(Fault::kClock) && random.chance(0.7)) {
    plan.forgets = true;
    plan.node.limits.producer_idle = DurationMs{random.between(400, 1500)};
  }
  plan.options = random.chance(0.6);
  plan.dead_letters = random.chance(0.4);
  if (plan.dead_letters && random.chance(0.7)) plan.partitions = 2;
  plan.node.seen_early = random.chance(0.3);
  if (plan.faults.contains(Fault::kFlip)) plan.node.limits.scrub_bytes_per_s = 1'000'000'000;
  plan.fault_gap_ms = world.span(20, 200);
  if (brief) plan.network.late_ms /= 2;
  plan.encode_peers = seed % 50 == 0;
  plan.purges = random.chance(0.3);
  plan.keys = random.chance(0.4);
  plan.on_delivery = random.chance(0.15);
  plan.limits = random.chance(0.2);
  plan.dedup = random.chance(0.3);
  plan.push = random.chance(0.3);
  plan.attempts = random.chance(0.3);
  plan.spread = plan.partitions > 1 && random.chance(0.5);
  return plan;
}

void Simulation::strike() {
  if (plan_.faults.empty()) return;
  world_.in(world_.random.between(1, plan_.fault_gap_ms), [this] {
    if (healing_) return;
    auto fault = plan_.faults.begin();
    std::advance(fault, world_.random.below(static_cast<std::int64_t>(plan_.faults.size())));
    world_.note("fault", static_cast<std::uint64_t>(*fault));
    strike(*fault);
    strike();
  });
}

void Simulation::purge() {
  if (!plan_.purges) return;
  world_.in(world_.span(50, 500), [this] {
    if (healing_) return;
    clients_.purge(clients_.some_queue());
    purge();
  });
}

Node& Simulation::some_node() { return *nodes_[static_cast<std::size_t>(world_.random.below(nodes_.size()))]; }

void Simulation::cut(Endpoint a, Endpoint b, bool both) {
  network_.cut(a, b);
  if (both) network_.cut(b, a);
  world_.in(world_.span(50, 1500), [this, a, b, both] {
    network_.mend(a, b);
    if (both) network_.mend(b, a);
  });
}

void Simulation::strike(Fault fault) {
  Node& node = some_node();
  const Endpoint other = static_cast<Endpoint>(world_.random.below(kEndpoints));
  const std::int64_t while_ms = world_.span(50, 1500);
  switch (fault) {
    case Fault::kCut:
      return cut(node.endpoint(), other, true);
    case Fault::kOneWay:
      return world_.random.chance(0.5) ? cut(node.endpoint(), other, false) : cut(other, node.endpoint(), false);
    case Fault::kMetadCut:
      return cut(node.endpoint(), kMetad, true);
    case Fault::kIsolate:
      for (Endpoint i = 0; i < kEndpoints; ++i) cut(node.endpoint(), i, true);
      return;
    case Fault::kKill:
      return kill(node, false);
    case Fault::kWipe:
      return kill(node, true);
    case Fault::kPause:
      return node.pause(while_ms);
    case Fault::kFullDisk:
      return node.fill_disk(while_ms);
    case Fault::kSlowDisk:
      node.slow_down(world_.span(1, 300));
      return world_.in(while_ms, [this, &node] { node.slow_down(plan_.node.commit_ms); });
    case Fault::kClock:
      return node.jump_clock(world_.random.between(-2000, 2000));
    case Fault::kFlip:
      return flip(node);
    case Fault::kMetadKill:
      if (!metad_.up()) return;
      metad_.crash();
      return world_.in(world_.span(1, 600), [this] {
        if (!metad_.up()) metad_.start();
      });
    case Fault::kMetadFull:
      metad_.set_commit_failures(0.5);
      return world_.in(while_ms, [this] { metad_.set_commit_failures(0); });
    case Fault::kMove:
      metad_.ask(MovePartition{{static_cast<std::uint16_t>(world_.random.below(plan_.partitions))}, some_replicas()});
      return;
    case Fault::kDrain:
      metad_.ask(DrainWorker{node.name(), world_.random.chance(0.5)});
      return;
    case Fault::kFence:
      metad_.ask(FenceWorker{node.name(), true});
      return world_.in(while_ms, [this, &node] { metad_.ask(FenceWorker{node.name(), false}); });
    case Fault::kSetCluster: {
      if (checker_.any_wiped() || checker_.damaged()) return;
      const auto factor = static_cast<std::uint8_t>(world_.random.between(1, 3));
      metad_.ask(SetCluster{factor, static_cast<std::uint8_t>(world_.random.between(1, factor))});
      return;
    }
    case Fault::kDelete:
      return delete_queue();
    case Fault::kCount:
      return;
  }
}

std::vector<std::string> Simulation::some_replicas() {
  std::vector<std::string> names;
  while (names.size() < std::min<std::size_t>(metad_.cluster().replication_factor, nodes_.size())) {
    if (const std::string& name = some_node().name(); !lists(names, name)) names.push_back(name);
  }
  return names;
}

void Simulation::delete_queue() {
  const QueueName old = clients_.some_queue();
  if (!std::holds_alternative<QueueDeleted>(metad_.ask(DeleteQueue{old.name}))) return;  // metad is away, or full
  world_.note("queue deleted", old.id.value);
  checker_.queue_deleted(old.id);
  renew_queue(old);
}

// In the same partition, by its tag.
void Simulation::renew_queue(const QueueName& old) {
  const std::string tag = old.name.substr(old.name.find('q'), 2);
  const auto created = metad_.ask(CreateQueue{"{" + tag + "}" + std::to_string(old.id.value), {}, true});
  const auto* queue = std::get_if<QueueInfo>(&created);
  if (queue == nullptr) return world_.in(20, [this, old] { renew_queue(old); });
  clients_.move(old.id, {queue->id, queue->name});
}

void Simulation::kill(Node& node, bool wipe) {
  if (!node.up() || (wipe && !may_harm(node))) return;
  node.crash(world_.random.chance(0.5));
  if (wipe) {
    checker_.wiped(node);
    node.disk.wipe();
  }
  world_.in(world_.span(1, 1500), [&node] {
    if (!node.up()) node.start();
  });
}

// It knows, and metad may not know yet.
bool Simulation::is_unclean(const Node& node) {
  const auto& held = node.service()->partitions();
  return std::any_of(held.begin(), held.end(), [](const auto& each) { return each.second.replica().unclean(); });
}

// Never the last complete copy, nor a second one before metad heard of the first. Bits are flipped in the copies of one
// worker at a time: two that are damaged in different places cannot repair each other.
bool Simulation::may_harm(const Node& node) {
  if (checker_.any_wiped() || checker_.damaged().value_or(node.endpoint()) != node.endpoint()) return false;
  for (const auto& other : nodes_) {
    if (other.get() != &node && other->up() && is_unclean(*other)) return false;
  }
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    const PartitionInfo& info = metad_.partition({i});
    if (!info.unclean.empty() && info.unclean != std::vector<std::string>{node.name()}) return false;
    // With one in sync being enough, this one may be the only one as soon as metad hears of it.
    if (info.min_in_sync < 2) return false;
    if (lists(info.replicas, node.name()) && info.in_sync.size() + info.eligible.size() < 2) return false;
  }
  return true;
}

void Simulation::flip(Node& node) {
  const std::size_t count = node.disk.records.size();
  if (count == 0 || !may_harm(node)) return;
  const auto record = std::next(node.disk.records.begin(), world_.random.below(static_cast<std::int64_t>(count)));
  const std::string before = record->second;
  node.disk.flip(record->first, world_.random.next() % (before.size() * 8));
  world_.note("flip", node.endpoint(), record->first.partition.value, record->first.lsn.value);
  checker_.flipped(node, record->first, before);
}

}  // namespace dmq::sim
