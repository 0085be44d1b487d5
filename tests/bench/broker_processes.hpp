// A broker, or a cluster, of its own for the benchmark, and what the kernel says that a process used.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"

namespace dmq::bench {

struct BrokerLayout {
  std::string sync = "commit";
  std::string data;  // a directory for a store of its own, removed afterwards; empty: a temporary one
  // 0: one dmq-broker, and the rest does not count. Otherwise so many dmq-storage, a dmq-metad and a dmq-router.
  unsigned workers = 0;
  unsigned replicas = 1;
  unsigned min_in_sync = 1;
};

// Starts programs that lie beside this executable, on free ports of loopback, and ends them when destroyed. In a
// cluster every partition has all its replicas in sync then.
class BrokerProcesses {
 public:
  // Throws std::runtime_error.
  explicit BrokerProcesses(const BrokerLayout& layout);
  ~BrokerProcesses();
  BrokerProcesses(const BrokerProcesses&) = delete;
  BrokerProcesses& operator=(const BrokerProcesses&) = delete;

  const std::string& endpoint() const { return daemons_.back()->endpoint(); }
  const std::vector<std::unique_ptr<support::Daemon>>& daemons() const { return daemons_; }

 private:
  void start_broker(const BrokerLayout& layout);
  void start_cluster(const BrokerLayout& layout);
  const std::string& start(const std::string& name, const std::string& program, std::vector<std::string> flags);
  void stop();

  std::string store_;                                      // to remove; empty: none
  std::vector<std::unique_ptr<support::Daemon>> daemons_;  // the last one is for clients
};

// Of a whole process since its start. Zeros when it cannot be read.
struct Usage {
  double cpu_seconds = 0;
  double peak_rss_mb = 0;
  double anon_mb = 0;
  std::uint64_t disk_bytes = 0;  // that it caused to be written, also by the page cache later
};
Usage usage_of(pid_t pid);
Usage& operator+=(Usage& sum, const Usage& more);

}  // namespace dmq::bench
