// How the parts of a simulated cluster are wired, and the phases of a history.
#include "tests/sim/simulation.hpp"

#include <algorithm>

#include "protocol/partitioner.hpp"
#include "protocol/parts.hpp"

namespace dmq::sim {
namespace {

constexpr std::int64_t kStartMs = 50;
constexpr std::int64_t kCalmMs = 100;
constexpr std::int64_t kHealMsMax =
    60'000;  // full queues that give to each other take what they have room for once a second
constexpr std::int64_t kRestMsMax = 5'000;
constexpr std::uint64_t kEventsMax = 400'000;

std::string queue_name(int partition) { return "q" + std::to_string(partition); }

}  // namespace

Simulation::Simulation(std::uint64_t seed, bool trace)
    : world_(seed, trace),
      plan_(plan_of(world_, seed)),
      network_(world_),
      metad_(world_, network_, plan_.partitions, plan_.cluster),
      checker_(world_, metad_, nodes_),
      clients_(world_, checker_, [this](std::size_t router, std::string client, ClientFrames frames) {
        routers_[router]->take_request(std::move(client), std::move(frames));
      }) {
  connect();
  for (Endpoint i = 0; i < plan_.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(world_, network_, metad_, i, plan_.node, node_wires_));
  }
  for (std::size_t i = 0; i < kRoutersMax; ++i) {
    routers_.push_back(std::make_unique<Router>(world_, network_, metad_, kRouters + i, router_wires_));
  }
}

void Simulation::connect() {
  metad_.observe([this](const CatalogChange& change) { checker_.catalog_changed(change); });
  node_wires_.peer = [this](Node& from, PeerFrame&& frame) { send_peer(from, std::move(frame)); };
  node_wires_.turned = [this](Node& node) { checker_.observe(node); };
  node_wires_.reply = [this](Node& from, Reply&& reply) {
    const auto router = static_cast<Endpoint>(reply.to.router[0]);
    network_.send(from.endpoint(), router, false,
                  [this, router, worker = from.name(), sent = world_.moment(), reply = std::move(reply)]() mutable {
                    routers_[router - kRouters]->take_reply(worker, std::move(reply), sent);
                  });
  };
  router_wires_.request = [this](Endpoint router, const std::string& worker, Frames frames) {
    const auto endpoint = static_cast<Endpoint>(worker[1] - '0');
    network_.send(router, endpoint, false, [this, router, endpoint, frames = std::move(frames)]() mutable {
      nodes_[endpoint]->take_request(router, std::move(frames));
    });
  };
  router_wires_.reply = [this](const std::string&, const ClientFrames& reply, Moment sent) {
    return clients_.take_reply(reply, sent);
  };
}

// What a leader publishes goes to all that hold the partition: the others have not subscribed to it.
void Simulation::send_peer(Node& from, PeerFrame&& frame) {
  std::shared_ptr<const PeerMessage> message;
  if (plan_.encode_peers) {
    auto decoded = decode_peer_message(encode_peer_message(frame.message), reader_);
    must(decoded.has_value(), "what a replica says can be decoded");
    message = std::make_shared<const PeerMessage>(std::move(*decoded));
  } else {
    message = std::make_shared<const PeerMessage>(std::move(frame.message));
  }
  for (const auto& node : nodes_) {
    if (node.get() == &from || (!frame.to.empty() && frame.to != node->name())) continue;
    if (!node->holds(message->partition)) continue;
    network_.send(from.endpoint(), node->endpoint(), true,
                  [to = node.get(), message, records = frame.records] { to->take_peer(message, records); });
  }
}

Outcome Simulation::run() {
  begin();
  strike();
  purge();
  run_until(world_.now() + plan_.random_ms);
  heal();
  return {world_.hash(), world_.mark(), checker_.committed()};
}

void Simulation::run_until(std::int64_t time) {
  while (world_.step(time)) must(world_.mark() < kEventsMax, "a history comes to an end");
}

// All is well until queues are there and clients are at work.
void Simulation::begin() {
  for (std::size_t i = 0; i + plan_.late_nodes < plan_.nodes; ++i) nodes_[i]->start();
  run_until(kStartMs / world_.pace);
  std::vector<QueueName> queues;
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    QueueSettings settings;
    const bool grows = plan_.spread && world_.random.chance(0.3);
    if (plan_.spread && !grows) settings.partitions = plan_.partitions;
    const auto created = metad_.ask(CreateQueue{queue_name(i), settings, false});
    const auto* queue = std::get_if<QueueInfo>(&created);
    must(queue != nullptr, "a queue can be created while all is well");
    queues.push_back({queue->id, queue->name, queue->settings});
    for (std::uint16_t part = 0; part < queue->settings.partitions; ++part) {
      const PartitionId place = place_of_part(*queue, part, plan_.partitions);
      checker_.partition_settled(place, metad_.partition(place).epoch);
    }
    if (grows) world_.in(world_.span(100, 1000), [this, i] { grow(queue_name(i)); });
  }
  if (plan_.dead_letters || plan_.limits || plan_.dedup) set_queues(queues);
  const auto producers = static_cast<std::size_t>(world_.random.between(1, world_.pace > 1 ? 2 : 4));
  const auto consumers = queues.size() + static_cast<std::size_t>(world_.random.below(2));
  if (plan_.options) clients_.set_options();
  if (plan_.keys) clients_.set_keys();
  if (plan_.dedup) clients_.set_dedup();
  if (plan_.on_delivery) clients_.set_on_delivery();
  if (plan_.push) clients_.set_push();
  if (plan_.attempts) clients_.set_attempts();
  if (plan_.spread) clients_.set_spread();
  if (plan_.faults.contains(Fault::kClock)) checker_.set_clocks_jump();
  clients_.begin(std::move(queues), producers, consumers);
  if (plan_.dead_letters) clients_.set_dead_letters();
  for (std::size_t i = plan_.nodes - plan_.late_nodes; i < plan_.nodes; ++i) {
    world_.in(world_.random.between(100 / world_.pace, plan_.random_ms), [this, i] {
      if (!nodes_[i]->up()) nodes_[i]->start();
    });
  }
  run_until(world_.now() + kCalmMs / world_.pace);
  network_.set(plan_.network);
  if (plan_.forgets) clients_.set_producer_idle(plan_.node.limits.producer_idle.value);
  if (plan_.forgets) checker_.set_producer_idle(plan_.node.limits.producer_idle);
  clients_.set_vanishing(plan_.vanishing);
}

// Each queue's dead letters go to the next one, in another partition where there is one.
void Simulation::set_queues(std::vector<QueueName>& queues) {
  if (plan_.dead_letters) checker_.set_dead_letters();
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    QueueSettings& settings = queues[i].settings;
    if (plan_.dead_letters) {
      settings.retry.max_deliveries = static_cast<std::uint64_t>(world_.random.between(1, 3));
      settings.retry.delay_ms = DurationMs{world_.span(0, 100)};
      settings.retry.jitter = 50;
      if (plan_.partitions > 1) settings.dead_letter = queue_name((i + 1) % plan_.partitions);
    }
    if (plan_.limits) {
      // Each partition takes its share, and the messages of a producer come three at a time to one of them.
      settings.limits.messages = static_cast<std::uint64_t>(world_.random.between(plan_.spread ? 6 : 3, 12));
      settings.limits.leased = static_cast<std::uint64_t>(world_.random.below(4));
      const bool moves = !settings.dead_letter.empty();
      settings.limits.when_full = static_cast<WhenFull>(world_.random.below(moves ? 3 : 2));
      checker_.set_messages_max(queues[i].id, share_of(settings.limits.messages, settings));
      if (settings.limits.when_full == WhenFull::kDropOldest) checker_.may_lose(queues[i].id);
    }
    if (plan_.dedup) {
      settings.dedup.mode = static_cast<DedupMode>(world_.random.below(3));
      settings.dedup.window_ms = DurationMs{world_.span(100, 2000)};
      checker_.set_dedup(queues[i].id, settings.dedup);
    }
    const auto updated = metad_.ask(UpdateQueue{queue_name(i), 1, settings});
    must(std::holds_alternative<QueueInfo>(updated), "a queue can be changed while all is well");
  }
}

// While it is used. It may be gone, or metad away: then it stays as it is. Nobody would take care of a dead-letter
// queue that metad makes anew.
void Simulation::grow(const std::string& name) {
  const QueueInfo* queue = metad_.queue(name);
  if (queue == nullptr) return;
  QueueSettings settings = queue->settings;
  if (!settings.dead_letter.empty() && metad_.queue(settings.dead_letter) == nullptr) return;
  settings.partitions = plan_.partitions;
  world_.note("queue grows", queue->id.value);
  checker_.queue_grows(queue->id, queue->partition);
  metad_.ask(UpdateQueue{name, queue->version, settings});
}

// Everything works again, and nothing new is sent but one probe a queue.
void Simulation::heal() {
  world_.note("heal");
  healing_ = true;
  network_.set({});
  network_.mend_all();
  metad_.set_commit_failures(0);
  if (!metad_.up()) metad_.start();
  for (const auto& node : nodes_) node->heal();
  for (const auto& [name, worker] : std::map(metad_.workers())) {
    metad_.ask(FenceWorker{name, false});
    metad_.ask(DrainWorker{name, false});
  }
  clients_.set_vanishing(0);
  clients_.drain();
  clients_.probe();
  await("every partition is led and all its replicas are in sync", &Simulation::is_whole);
  await("every queue is drained and every probe confirmed", &Simulation::is_drained);
  network_.bring_late(20 / world_.pace);
  run_until(world_.now() + 50 / world_.pace);
  await("every partition is led and all its replicas are in sync, still", &Simulation::is_whole);
  await("what came late is drained too", &Simulation::is_drained);
  const std::int64_t until = world_.now() + kRestMsMax;
  for (std::string what = unrest(); !what.empty() || !is_whole(); what = is_whole() ? unrest() : what) {
    if (world_.tracing()) world_.trace("no rest: " + what);
    if (world_.now() >= until) violated("the cluster does not come to rest: " + what);
    run_until(world_.now() + 20);
  }
}

void Simulation::await(const char* what, bool (Simulation::*holds)() const) {
  const std::int64_t until = world_.now() + kHealMsMax;
  while (!(this->*holds)()) {
    if (world_.now() >= until && world_.tracing()) trace_queues();
    if (world_.now() >= until && is_whole()) checker_.check_nothing_lost();
    if (world_.now() >= until) violated(std::string("after all is well again it does not come to be that ") + what);
    run_until(world_.now() + 20);
  }
}

void Simulation::trace_queues() const {
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    const Partition* leader = leader_of({i});
    if (leader == nullptr) continue;
    for (const auto& [id, queue] : leader->queues()) {
      const QueueCounts counts = queue.counts();
      world_.trace("p" + std::to_string(i) + " queue " + std::to_string(id.value) + ": ready " +
                   std::to_string(counts.ready) + " leased " + std::to_string(counts.leased) + " delayed " +
                   std::to_string(counts.delayed) + " dead " + std::to_string(counts.dead) + ", leave " +
                   std::to_string(queue.leaving().size()));
    }
  }
}

bool Simulation::is_whole() const {
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    const PartitionInfo& info = metad_.partition({i});
    const Partition* leader = leader_of({i});
    if (leader == nullptr || !leader->replica().delivers() || !info.target.empty()) return false;
    if (info.in_sync != info.replicas || leader->replica().set().version != info.version) return false;
  }
  return true;
}

const Partition* Simulation::leader_of(PartitionId id) const {
  const PartitionInfo& info = metad_.partition(id);
  for (const auto& node : nodes_) {
    if (node->name() != info.leader || !node->up()) continue;
    const auto found = node->service()->partitions().find(id);
    if (found != node->service()->partitions().end() && found->second.replica().leads()) return &found->second;
  }
  return nullptr;
}

bool Simulation::is_drained() const {
  if (!clients_.all_confirmed() || checker_.unsettled() > 0) return false;
  for (std::uint16_t i = 0; i < plan_.partitions; ++i) {
    const Partition* leader = leader_of({i});
    if (leader == nullptr || leader->applied() != leader->replica().end()) return false;
    for (const auto& [id, queue] : leader->queues()) {
      if (!queue.empty()) return false;
    }
  }
  return true;
}

// No lease, no reply that waits, no message anywhere; all replicas are equal. What is wrong; empty: nothing.
std::string Simulation::unrest() const {
  for (const auto& node : nodes_) {
    for (const auto& [id, partition] : node->service()->partitions()) {
      if (!lists(metad_.partition(id).replicas, node->name())) continue;
      if (std::string what = unrest(*node, partition, *leader_of(id)); !what.empty()) return node->name() + ": " + what;
    }
  }
  return {};
}

std::string Simulation::unrest(const Node& node, const Partition& partition, const Partition& leader) const {
  const PartitionId id = partition.id();
  auto& core = const_cast<Partition&>(partition);
  if (!core.waiting().empty()) return "a reply waits although all is committed";
  if (partition.replica().end() != leader.replica().end()) return "its log ends elsewhere than the leader's";
  // A leader may know of a term, its own, that has no records.
  EpochTable terms = leader.replica().epochs();
  terms.cut(leader.replica().end());
  if (partition.replica().epochs() != terms && &partition != &leader)
    return "its log has other terms than the leader's";
  if (partition.applied() != leader.applied()) return "it has not applied what the leader has";
  for (const auto& [queue, each] : core.queues()) {
    if (!each.empty()) return "a drained queue is not empty";
    if (each.counts().bytes != 0 || each.counts().stored != 0) return "a drained queue still has bytes";
  }
  if (std::string what = unrest_of_producers(node, partition, leader); !what.empty()) return what;
  return unrest_on_disk(node, id);
}

std::string Simulation::unrest_of_producers(const Node& node, const Partition& partition,
                                            const Partition& leader) const {
  const auto& table = partition.producers().table();
  const auto& told = leader.producers().table();
  const auto equal = [](const auto& a, const auto& b) {
    return a.first == b.first && a.second.applied.last == b.second.applied.last;
  };
  if (!std::equal(table.begin(), table.end(), told.begin(), told.end(), equal)) return "it knows other producers";
  std::size_t stored = 0;
  for (const auto& [key, state] : node.disk.producers) {
    if (std::get<PartitionId>(key) != partition.id()) continue;
    ++stored;
    const auto row = table.find(std::pair(std::get<QueueId>(key), std::get<std::string>(key)));
    if (row == table.end() || row->second.applied.last != state.last) return "its disk has another producer";
  }
  return stored == table.size() ? "" : "its disk lacks a producer";
}

std::string Simulation::unrest_on_disk(const Node& node, PartitionId id) const {
  for (auto at = node.disk.records.lower_bound({id, {}}); at != node.disk.records.end(); ++at) {
    if (at->first.partition != id) break;
    const auto header = read_record_header(*checker_.written(node, node.disk, at->first));
    if (!header || header->type == RecordType::kMessage) {
      return "a settled message is still on the disk, LSN " + std::to_string(at->first.lsn.value);
    }
  }
  for (const auto& [place, below] : node.disk.dropped) {
    if (place.partition == id) return "messages of a deleted queue are still to be removed";
  }
  for (const auto& [place, returned] : node.disk.returns) {
    if (place.partition == id)
      return "a settled message left its delivery count, LSN " + std::to_string(place.lsn.value);
  }
  return {};
}

}  // namespace dmq::sim
