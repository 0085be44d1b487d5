// Kills the programs of a cluster at random moments and starts them again at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>
#include <string>

#include "tests/cluster/cluster.hpp"

namespace dmq::cluster {

struct NemesisOptions {
  std::uint64_t seed = 1;
  int rounds = 10;
  std::chrono::milliseconds between_min{50};
  std::chrono::milliseconds between_max{600};
  // For clusters with replicas: a victim may stay away for so long, and may be stopped (SIGSTOP) instead of killed.
  std::chrono::milliseconds away_max{0};
  bool pauses_only = false;  // workers are stopped, nothing is killed
};

// Each round is one SIGKILL. One in five comes within 40 ms of the one before, often while the program still starts.
// Where victims stay away, only one is away at a time: two of three replicas are there.
class Nemesis {
 public:
  Nemesis(Cluster& cluster, NemesisOptions options) : cluster_(cluster), options_(options), random_(options.seed) {}

  // Returns a sentence when a program had ended by itself or cannot be started any more, otherwise empty.
  std::string run();

 private:
  std::chrono::milliseconds next_pause();
  Daemon& choose();
  // One victim; what went wrong, or empty.
  std::string strike();
  std::string strike_for_a_while(Daemon& victim);
  // Looks after every program while the pause lasts; the name and end of one that ended by itself, or empty.
  std::string watch(std::chrono::milliseconds pause);

  Cluster& cluster_;
  const NemesisOptions options_;
  std::mt19937_64 random_;
};

}  // namespace dmq::cluster
