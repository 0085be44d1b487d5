// See network.hpp.
#include "tests/sim/network.hpp"

namespace dmq::sim {

std::int64_t Network::delay() {
  if (faults_.late > 0 && world_.random.chance(faults_.late)) return world_.random.between(1, faults_.late_ms);
  return world_.random.between(0, faults_.delay_ms);
}

void Network::send(Endpoint from, Endpoint to, bool twice, World::Action&& deliver) {
  if (cut_[from][to] || (faults_.loss > 0 && world_.random.chance(faults_.loss))) return;
  if (twice && faults_.duplication > 0 && world_.random.chance(faults_.duplication)) {
    world_.in(world_.random.between(0, faults_.late_ms), World::Action(deliver));
  }
  world_.in(delay(), std::move(deliver));
}

}  // namespace dmq::sim
