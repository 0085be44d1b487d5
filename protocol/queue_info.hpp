// Payloads of hello and of the queue operations: maps for people and programs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/catalog.hpp"
#include "protocol/error.hpp"

namespace dmq {

class MsgpackReader;

// What a worker knows about a queue, for queue.describe.
struct QueueStatus {
  std::string worker;
  std::uint64_t ready = 0;
  std::uint64_t leased = 0;
  std::uint64_t delayed = 0;
  std::uint64_t dead = 0;
  std::uint64_t bytes = 0;    // on disk, headers included
  std::uint64_t waiting = 0;  // receives that wait for a message
};

std::string encode_queue_info(const QueueInfo& queue);
std::string encode_queue_status(const QueueInfo& queue, const QueueStatus& status);
// What queue.redrive did.
struct RedriveResult {
  std::uint64_t revived = 0;  // dead ones that are ready again
  std::uint64_t moved = 0;    // that go back to the queues that they came from
  std::string next;           // `after` of the next request; empty: there is no more
};
std::string encode_redriven(const RedriveResult& result);
std::string encode_queue_list(const std::vector<const QueueInfo*>& queues);

// hello: versions, features, limits, and what is in force.
struct HelloInfo {
  std::string sync;   // the weakest of all workers
  std::string admin;  // endpoint where administrators are served; empty: none
};
std::string encode_hello(const HelloInfo& info);

}  // namespace dmq
