// The load: producers that keep a window of unconfirmed sends, consumers that receive, check and ack.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "dmq/client.hpp"
#include "tests/bench/stamp.hpp"

namespace dmq::bench {

struct Load {
  std::string endpoint;
  std::string queue = "bench";
  std::size_t producers = 4;
  std::size_t consumers = 4;
  std::size_t window = 64;       // unconfirmed sends of a producer; also the most that one receive takes
  std::size_t size = 1024;       // bytes of a body
  double seconds = 5;            // of sending; 0: until `count`
  std::uint64_t count = 0;       // messages in all; 0: until `seconds`
  std::uint64_t rate = 0;        // messages a second of all producers, a producer half a window at a time; 0: no bound
  bool fill_first = false;       // consumers start when all is sent
  std::uint64_t credit = 0;      // consumers subscribe with it; 0: they receive
  std::uint64_t partitions = 1;  // of the queue
  int io_threads = 1;            // of ZeroMQ, shared by all clients of the benchmark
  const std::atomic<bool>* stop = nullptr;  // once true, nothing more is sent
};

// Latencies in units of 100 ns.
struct Latency {
  std::vector<std::uint32_t> samples;
  void add(std::int64_t ns) {
    samples.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(ns / 100, UINT32_MAX)));
  }
};

struct Outcome {
  std::uint64_t confirmed = 0;
  std::uint64_t send_failures = 0;
  std::uint64_t acked = 0;
  std::uint64_t ack_failures = 0;
  std::uint64_t foreign = 0;  // messages of an earlier run that lay in the queue
  std::uint64_t lost = 0;
  std::uint64_t duplicated = 0;
  std::uint64_t corrupt = 0;
  double send_seconds = 0;        // first send to last confirm
  double end_to_end_seconds = 0;  // first send, or with fill_first the first receive, to last ack
  Latency confirm;
  Latency end_to_end;
  std::vector<std::string> errors;  // the first few
};

// Runs the load; `watch` is called about ten times a second meanwhile. Every confirmed message is waited for, until
// nothing was acked for 20 seconds.
Outcome run_load(const Load& load, const std::function<void()>& watch);

}  // namespace dmq::bench
