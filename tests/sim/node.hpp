// One worker of a simulated cluster: the real request core in the loop of storage/worker.cpp, around a simulated disk.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "storage/service.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/metad_tie.hpp"

namespace dmq::sim {

inline constexpr TimeMs kWallStart{1'700'000'000'000};  // what clocks say at first that do not jump

struct NodeSettings {
  ServiceLimits limits;
  std::int64_t commit_ms = 5;   // what a commit takes at the most
  double inline_commits = 0.5;  // of the turns of one request: committed at once, in the loop
  bool seen_early = false;      // a commit is seen a little before a loss of power can no more undo it
};

// The three frames between a router and a worker.
struct Frames {
  std::string envelope;
  std::string header;
  std::string payload;
};

// Owns its disk, which outlives its process. At most one commit is under way; meanwhile the next turn is gathered.
class Node {
 public:
  // Where its words go, and who looks on after each turn.
  struct Wires {
    std::function<void(Node& from, PeerFrame&& frame)> peer;
    std::function<void(Node& from, Reply&& reply)> reply;
    std::function<void(Node& node)> turned;
  };

  Node(World& world, Network& network, Metad& metad, Endpoint self, NodeSettings settings, const Wires& wires);
  ~Node();

  Endpoint endpoint() const { return self_; }
  const std::string& name() const { return name_; }
  std::uint64_t life() const { return life_; }
  bool up() const { return process_ != nullptr; }
  bool stopped() const { return stopped_; }  // it came to an error that ends a worker
  const Service* service() const;
  const MetadTie* tie() const;
  bool holds(PartitionId id) const { return up() && service()->partitions().contains(id); }

  void start();
  // The transaction that is under way is kept whole or lost whole, also when it can be seen already.
  void crash(bool keep_commit);
  void pause(std::int64_t ms);
  void fill_disk(std::int64_t ms) { full_until_ = world_.now() + ms; }
  void jump_clock(std::int64_t ms) { wall_offset_ += ms; }
  void slow_down(std::int64_t commit_ms) { settings_.commit_ms = commit_ms; }
  void heal();

  void take_request(Endpoint router, Frames frames);
  void take_peer(std::shared_ptr<const PeerMessage> message, std::shared_ptr<const std::string> records);

  Disk disk;
  // What a crash cannot take.
  const Disk& synced() const { return synced_ ? *synced_ : disk; }

 private:
  struct Process;
  struct Gathered;

  Now clock() const;
  void restore();
  void wake_at(std::int64_t time) { alarm_.at(std::max(time, paused_until_)); }
  void wake() { wake_at(world_.now()); }
  void wake_up();
  void turn();
  void drain_peers();
  void drain_requests();
  void take(Endpoint router, Frames& frames);
  void advance_commits();
  bool commit_is_due();
  void commit_gathered();
  void write(const Gathered& gathered, const Result<void>& outcome);
  Result<void> outcome_of(const Turn& turn);
  void finish(Gathered& gathered, const Result<void>& outcome);
  void send_all();
  void schedule();
  void stop(const Error& error);

  World& world_;
  Network& network_;
  Metad& metad_;
  const Endpoint self_;
  const std::string name_;
  NodeSettings settings_;
  const Wires& wires_;
  std::unique_ptr<Process> process_;
  std::optional<Disk> synced_;  // while it is another than what is seen
  std::uint64_t life_ = 0;
  bool stopped_ = false;
  Now now_{};
  Alarm alarm_;
  std::int64_t paused_until_ = 0;
  std::int64_t full_until_ = 0;
  std::int64_t wall_offset_ = 0;
};

}  // namespace dmq::sim
