// A broker of its own for the benchmark, and what the kernel says that a process used.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "tests/support/daemon.hpp"

namespace dmq::bench {

// Starts the dmq-broker that lies beside this executable, on a free port of loopback, and ends it when destroyed.
class BrokerProcess {
 public:
  // `data`: a directory for a store of its own, removed afterwards; empty: --ephemeral. Throws std::runtime_error.
  BrokerProcess(const std::string& sync, const std::string& data);
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  const std::string& endpoint() const { return broker_.endpoint(); }
  pid_t pid() const { return broker_.pid(); }

 private:
  void stop();

  std::string store_;  // to remove; empty: none
  support::Daemon broker_;
};

// Of a whole process since its start. Zeros when it cannot be read.
struct Usage {
  double cpu_seconds = 0;
  double peak_rss_mb = 0;
  double anon_mb = 0;
  std::uint64_t disk_bytes = 0;  // that it caused to be written, also by the page cache later
};
Usage usage_of(pid_t pid);

}  // namespace dmq::bench
