// What can happen to a cluster, each as a function that does it and gives back one that mends it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/cluster/stage.hpp"

namespace dmq::cluster {

// Makes it well again, as far as a person or the network would; the rest is the cluster's to do.
using Mend = std::function<void()>;

// What a fault needs, and with what it can be mixed: with any of another kind, kDamage and kMembers with none.
enum class Kind {
  kProcess,
  kNetwork,  // namespaces
  kClock,    // the preloaded library
  kPower,    // likewise
  kDisk,     // a small disk, so namespaces
  kDamage,   // of all copies on one worker: before it and after it the cluster has to be well
  kMembers,
};

struct Fault {
  const char* name;
  const char* what;
  Kind kind;
  bool usual;  // one of `all`
  Mend (*strike)(Stage&);
};

const std::vector<Fault>& all_faults();

}  // namespace dmq::cluster
