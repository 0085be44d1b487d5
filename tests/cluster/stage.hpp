// What faults act on: a cluster, chance, and the means to see whether it is well.
#pragma once

#include <chrono>
#include <functional>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/cluster/cluster.hpp"

namespace dmq::cluster {

// A program or the cluster did what it must not; what() is a sentence.
struct Trouble : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Not thread-safe. Its functions throw Trouble.
class Stage {
 public:
  // `hold_consumers`: clients receive nothing until it is called with false.
  Stage(Cluster& cluster, Isolation* isolation, std::function<void(bool)> hold_consumers, std::uint64_t seed)
      : cluster_(cluster), isolation_(isolation), hold_consumers_(std::move(hold_consumers)), random_(seed) {}

  Cluster& cluster() { return cluster_; }
  const Cluster& cluster() const { return cluster_; }
  // REQUIRES: there is one.
  Isolation& isolation() { return *isolation_; }
  std::mt19937_64& random() { return random_; }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(random_() % count); }

  // A running program whose name starts so, that no fault has now. It is busy until release().
  Daemon& choose(const std::string& prefix);
  // The name of that which was chosen last, for the log.
  std::string last_chosen() { return std::exchange(last_chosen_, {}); }
  void release(Daemon& daemon) { busy_.erase(&daemon); }
  // The place of a program, for Isolation.
  std::size_t place(const Daemon& daemon) const;

  // SIGKILL: what it wrote stays written. With `power`, what it had not synced may be gone.
  void kill(Daemon& daemon, bool power = false);
  // Empties its data directory. REQUIRES: it does not run.
  void wipe(Daemon& daemon);
  void hold_consumers(bool hold) { hold_consumers_(hold); }
  // By all losses of power up to now.
  std::size_t pages_lost() const { return pages_lost_; }
  // Damaged stores that workers kept under another name; they are removed once all is well.
  int set_aside() const { return set_aside_; }

  // Looks after every program while the pause lasts.
  void watch(std::chrono::milliseconds pause);
  // Waits until every partition has its leader and all its copies, bounded.
  void await_health();
  // The operators' command `dmq cluster ...`; its exit code.
  int operate(std::vector<std::string> arguments, std::chrono::milliseconds patience);

 private:
  void remove_set_aside();

  Cluster& cluster_;
  Isolation* const isolation_;
  const std::function<void(bool)> hold_consumers_;
  std::mt19937_64 random_;
  std::set<Daemon*> busy_;
  std::string last_chosen_;
  std::size_t pages_lost_ = 0;
  int set_aside_ = 0;
};

}  // namespace dmq::cluster
