// The programs of one broker or one cluster, at fixed endpoints in a directory of their own.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/cluster/isolation.hpp"
#include "tests/support/daemon.hpp"

namespace dmq::cluster {

using support::Daemon;

enum class Layout {
  kBroker,    // one dmq-broker
  kDaemons,   // 1 dmq-metad, 2 dmq-routers, 3 dmq-storage
  kReplicas,  // 1 dmq-metad, 3 dmq-routers, 5 dmq-storage and a spare one, three replicas of each partition
};

inline constexpr std::size_t kReplicasPrograms = 10;  // of Layout::kReplicas

// Where and how programs run, so that more can happen to them.
struct Ground {
  const Isolation* isolation = nullptr;  // the i-th program is in its i-th place; null: all are on loopback
  bool preload = false;                  // with preload.cpp
  std::size_t small_disk_bytes = 0;      // of the last worker but the spare; 0: it has what the others have
};

class Cluster {
 public:
  // `worker_flags` are given to every dmq-storage.
  explicit Cluster(Layout layout, std::vector<std::string> worker_flags = {}, Ground ground = {});
  ~Cluster();

  // All but the spare worker.
  void start();
  // Waits, after start(), until each listens; the name of one that does not, or empty.
  std::string await_listening();
  // Where clients connect.
  const std::vector<std::string>& endpoints() const { return endpoints_; }
  const std::string& metad() const { return metad_; }
  std::vector<std::unique_ptr<Daemon>>& daemons() { return daemons_; }
  Daemon& daemon(const std::string& name);
  // The worker that is not started with the others, and the one whose disk is small; null: there is none.
  Daemon* spare() { return spare_; }
  Daemon* cramped() { return cramped_; }
  const std::string& directory() const { return directory_; }
  std::string data(const Daemon& daemon) const { return directory_ + "/" + daemon.name(); }
  std::string journals(const Daemon& daemon) const { return data(daemon) + ".journals"; }
  // REQUIRES: Ground::preload. Its wall clock is so far off from then on.
  void set_clock(const Daemon& daemon, std::chrono::nanoseconds off) const;
  // Leaves stores and logs on the disk for a person to look at.
  void keep_directory() { keep_ = true; }

 private:
  Daemon& add(const std::string& name, const std::string& program, std::vector<std::string> flags);
  void add_broker();
  void add_daemons(int workers, int routers, std::vector<std::string> metad_flags);
  Daemon& add_worker(int number);
  void preload(Daemon& daemon, support::Surroundings& surroundings) const;
  // An endpoint for the program that is added next, or for a further socket of it.
  std::string new_endpoint() const;

  const std::vector<std::string> worker_flags_;
  const Ground ground_;
  std::string directory_;
  bool keep_ = false;
  std::string metad_;
  std::vector<std::string> endpoints_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
  Daemon* spare_ = nullptr;
  Daemon* cramped_ = nullptr;
};

}  // namespace dmq::cluster
