// The clients of a crash test: threads that send and receive until they are told to stop, and note all they see.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "dmq/client.hpp"
#include "tests/cluster/history.hpp"

namespace dmq::cluster {

struct LoadOptions {
  std::vector<std::string> endpoints;
  std::uint64_t seed = 1;
  std::uint32_t queues = 4;
  std::uint32_t producers = 3;
  std::uint32_t consumers_per_queue = 1;
};

// Threads are started by the constructor. Each producer sends to all queues, each consumer receives from one.
//
//   constructor --> producers and consumers --> stop_producers --> consumers drain --> stop_consumers
class Load {
 public:
  explicit Load(LoadOptions options);
  ~Load();

  // Ends sending and waits for what is unconfirmed.
  void stop_producers();
  void stop_consumers();
  // While held they receive nothing; what they have they ack.
  void hold_consumers(bool hold) { hold_ = hold; }
  // Waits until the broker says of each queue that nothing is in it. Returns what is left, or empty.
  std::string await_empty_queues();

  Counts result() const;
  // Violations and failures of clients, as sentences.
  std::vector<std::string> complaints() const;
  std::uint64_t confirmed() const;
  // Why messages were given up, and how often.
  std::map<std::string, int> unconfirmed_reasons() const;

 private:
  class Producer;
  class Consumer;

  ClientOptions client_options() const;
  void complain(const std::string& what);
  std::string what_is_left(Client& client) const;

  const LoadOptions options_;
  const std::shared_ptr<Network> network_;
  mutable std::mutex mutex_;  // of history_, complaints_ and unconfirmed_reasons_
  History history_;
  std::vector<std::string> complaints_;
  std::map<std::string, int> unconfirmed_reasons_;
  std::atomic<bool> send_{true};
  std::atomic<bool> receive_{true};
  std::atomic<bool> hold_{false};
  std::vector<std::thread> producers_;
  std::vector<std::thread> consumers_;
};

}  // namespace dmq::cluster
