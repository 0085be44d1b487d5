// See network.hpp.
#include "tests/sim/network.hpp"

#include <utility>

namespace dmq::sim {

void Network::send(Endpoint from, Endpoint to, bool twice, World::Action&& deliver) {
  if (cut_[from][to] || (faults_.loss > 0 && world_.random.chance(faults_.loss))) return;
  if (twice && faults_.duplication > 0 && world_.random.chance(faults_.duplication)) {
    hold(world_.random.between(0, faults_.late_ms), World::Action(deliver));
  }
  if (faults_.late > 0 && world_.random.chance(faults_.late)) {
    return hold(world_.random.between(1, faults_.late_ms), std::move(deliver));
  }
  world_.in(world_.random.between(0, faults_.delay_ms), std::move(deliver));
}

void Network::hold(std::int64_t ms, World::Action&& deliver) {
  const std::uint64_t id = next_held_++;
  held_.emplace(id, std::move(deliver));
  world_.in(ms, [this, id] {
    if (const auto held = held_.extract(id)) held.mapped()();
  });
}

void Network::bring_late(std::int64_t ms) {
  for (auto& [id, deliver] : std::exchange(held_, {})) {
    world_.in(world_.random.between(0, ms), std::move(deliver));
  }
}

}  // namespace dmq::sim
