// The programs of one broker or one cluster, at fixed endpoints in a directory of their own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"

namespace dmq::cluster {

using support::Daemon;

enum class Layout {
  kBroker,    // one dmq-broker
  kDaemons,   // 1 dmq-metad, 2 dmq-routers, 3 dmq-storage
  kReplicas,  // 1 dmq-metad, 3 dmq-routers, 5 dmq-storage, three replicas of each partition
};

class Cluster {
 public:
  // `worker_flags` are given to every dmq-storage.
  explicit Cluster(Layout layout, std::vector<std::string> worker_flags = {});
  ~Cluster();

  void start();
  // Waits, after start(), until each listens; the name of one that does not, or empty.
  std::string await_listening();
  // Where clients connect.
  const std::vector<std::string>& endpoints() const { return endpoints_; }
  std::vector<std::unique_ptr<Daemon>>& daemons() { return daemons_; }
  const std::string& directory() const { return directory_; }
  // Leaves stores and logs on the disk for a person to look at.
  void keep_directory() { keep_ = true; }

 private:
  void add(const std::string& name, const std::string& program, std::vector<std::string> flags);
  void add_broker();
  void add_daemons(int workers, int routers, std::vector<std::string> metad_flags);

  const std::vector<std::string> worker_flags_;
  std::string directory_;
  bool keep_ = false;
  std::vector<std::string> endpoints_;
  std::vector<std::unique_ptr<Daemon>> daemons_;
};

}  // namespace dmq::cluster
