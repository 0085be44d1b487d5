// One history of a simulated cluster, from one seed: a calm start, faults of many kinds, and what must hold once all is
// well again.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "tests/sim/checker.hpp"
#include "tests/sim/clients.hpp"
#include "tests/sim/router.hpp"

namespace dmq::sim {

enum class Fault {
  kCut,         // a link between two, both ways
  kOneWay,      // a link between two, one way
  kMetadCut,    // between one and metad
  kIsolate,     // one from all others
  kKill,        // a process ends; its disk keeps what was committed
  kWipe,        // and its disk is empty afterwards
  kPause,       // a process stands still
  kFullDisk,    // commits of messages fail for a while
  kSlowDisk,    // commits take long
  kClock,       // the wall clock jumps
  kFlip,        // a bit of a record on a disk is another
  kMetadKill,   // metad ends and starts again
  kMetadFull,   // metad cannot write for a while
  kMove,        // an operator places a partition
  kDrain,       // an operator empties a worker
  kFence,       // an operator fences a worker
  kSetCluster,  // an operator changes how many replicas there are
  kDelete,      // an operator deletes a queue, and its clients go on with another
  kCount,
};

// What a seed decides before anything happens, beside the world's pace.
struct Plan {
  std::size_t nodes = 3;
  std::size_t late_nodes = 0;  // of them, those that come when the others are at work
  std::uint16_t partitions = 1;
  ClusterInfo cluster;
  std::set<Fault> faults;
  NetworkFaults network;
  NodeSettings node;
  double vanishing = 0;
  bool options = false;  // of messages
  bool keys = false;
  bool on_delivery = false;  // some receives ack what they get
  bool limits = false;       // of queues
  bool dedup = false;        // some messages have dedup ids
  bool push = false;         // some consumers subscribe
  bool attempts = false;     // some receives have attempt ids, or a named consumer that may be silent
  bool spread = false;       // some queues have all partitions, from the start or from some moment on
  bool dead_letters = false;
  bool forgets = false;  // idle producers
  bool purges = false;   // of queues, now and then
  std::int64_t random_ms = 3000;
  std::int64_t fault_gap_ms = 200;  // between two faults, at the most
  bool encode_peers = false;        // what replicas say goes through the codec
};
Plan plan_of(World& world, std::uint64_t seed);

struct Outcome {
  std::uint64_t hash = 0;
  std::uint64_t events = 0;
  std::uint64_t committed = 0;
};

class Simulation {
 public:
  Simulation(std::uint64_t seed, bool trace);
  // Throws Violation.
  Outcome run();

 private:
  void begin();
  void connect();
  void send_peer(Node& from, PeerFrame&& frame);
  void run_until(std::int64_t time);
  void set_queues(std::vector<QueueName>& queues);
  void grow(const std::string& queue);
  void heal();
  void await(const char* what, bool (Simulation::*holds)() const);
  void trace_queues() const;
  bool is_whole() const;
  bool is_drained() const;
  std::string unrest() const;
  std::string unrest(const Node& node, const Partition& partition, const Partition& leader) const;
  std::string unrest_of_producers(const Node& node, const Partition& partition, const Partition& leader) const;
  std::string unrest_on_disk(const Node& node, PartitionId id) const;
  const Partition* leader_of(PartitionId id) const;

  // faults.cpp
  void strike();
  void purge();
  void strike(Fault fault);
  void kill(Node& node, bool wipe);
  bool may_harm(const Node& node);
  static bool is_unclean(const Node& node);
  void flip(Node& node);
  void delete_queue();
  void renew_queue(const QueueName& old);
  void cut(Endpoint a, Endpoint b, bool both);
  Node& some_node();
  std::vector<std::string> some_replicas();

  World world_;
  Plan plan_;
  Network network_;
  Metad metad_;
  Node::Wires node_wires_;
  Router::Wires router_wires_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Router>> routers_;
  Checker checker_;
  Clients clients_;
  bool healing_ = false;
  MsgpackReader reader_;
};

}  // namespace dmq::sim
