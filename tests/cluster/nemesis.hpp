// Strikes a cluster with faults at random moments and mends each after a while.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "tests/cluster/faults.hpp"

namespace dmq::cluster {

struct NemesisOptions {
  std::uint64_t seed = 1;
  // It goes on until all three are reached.
  int rounds = 10;
  std::uint64_t confirmed_min = 0;
  std::chrono::seconds time_min{0};
  std::vector<std::string> faults{"kill"};
  std::chrono::milliseconds between_min{50};
  std::chrono::milliseconds between_max{600};
  // How long a fault lasts at most; 0: it is mended at once, there is one at a time and no quiet round.
  std::chrono::milliseconds away_max{0};
};

// Each round is one fault, or two of different kinds that overlap; a quarter of the rounds is quiet: then all must
// become well, and stay so. The faults come like cards of a shuffled deck. One round in five comes within 40 ms of the
// one before, often while a program still starts.
class Nemesis {
 public:
  // `confirmed`: how far the load is. The namespaces are null when there are none.
  Nemesis(Cluster& cluster, Isolation* isolation, NemesisOptions options, std::function<std::uint64_t()> confirmed,
          std::function<void(bool)> hold_consumers);

  // Returns a sentence when the cluster did what it must not, otherwise empty.
  std::string run();
  // How often each was there, by name, with "quiet" and "mixed".
  const std::map<std::string, int>& counts() const { return counts_; }
  const Stage& stage() const { return stage_; }

 private:
  void run_round();
  void be_quiet();
  const Fault& draw();
  // One to go with the first, or null.
  const Fault* draw_second(const Fault& first);
  Mend strike(const Fault& fault);
  void mend(const Mend& mend, const std::string& name);
  void tell(const std::string& what) const;
  std::chrono::milliseconds some(std::chrono::milliseconds max);
  std::chrono::milliseconds next_pause();

  const NemesisOptions options_;
  const std::function<std::uint64_t()> confirmed_;
  Stage stage_;
  std::vector<const Fault*> chosen_;
  std::vector<const Fault*> deck_;
  std::map<std::string, int> counts_;
};

// Those of `names` ("all" is all usual ones) that can be had on this ground; into `left_out` the names of the others.
// Throws Trouble for a name that no fault has.
std::vector<std::string> possible_faults(const std::vector<std::string>& names, const Ground& ground, bool spare,
                                         std::vector<std::string>& left_out);

}  // namespace dmq::cluster
