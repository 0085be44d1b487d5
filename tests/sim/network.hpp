// The network of a simulated cluster: messages are lost, doubled, delayed and overtaken; links are cut one way or both.
#pragma once

#include <array>
#include <cstdint>
#include <map>

#include "tests/sim/world.hpp"

namespace dmq::sim {

using Endpoint = std::size_t;
inline constexpr Endpoint kNodesMax = 5;  // nodes are 0 to 4
inline constexpr Endpoint kMetad = 5;
inline constexpr Endpoint kRouters = 6;  // and the one behind it
inline constexpr std::size_t kRoutersMax = 2;
inline constexpr Endpoint kEndpoints = kRouters + kRoutersMax;

struct NetworkFaults {
  double loss = 0;
  double duplication = 0;  // of what is no TCP stream to its receiver: the copy may come much later
  double late = 0;         // of messages that take up to `late_ms`
  std::int64_t delay_ms = 1;
  std::int64_t late_ms = 800;
};

class Network {
 public:
  explicit Network(World& world) : world_(world) {}

  void set(const NetworkFaults& faults) { faults_ = faults; }
  // Calls `deliver` after a while: once, never, or, where `twice` allows it, twice.
  void send(Endpoint from, Endpoint to, bool twice, World::Action&& deliver);
  void cut(Endpoint from, Endpoint to) { cut_[from][to] = true; }
  void mend(Endpoint from, Endpoint to) { cut_[from][to] = false; }
  void mend_all() { cut_ = {}; }
  // All that is late comes now, within `ms`.
  void bring_late(std::int64_t ms);

 private:
  void hold(std::int64_t ms, World::Action&& deliver);

  World& world_;
  NetworkFaults faults_;
  std::array<std::array<bool, kEndpoints>, kEndpoints> cut_{};
  std::map<std::uint64_t, World::Action> held_;  // what is late, in the order in which it was sent
  std::uint64_t next_held_ = 0;
};

}  // namespace dmq::sim
