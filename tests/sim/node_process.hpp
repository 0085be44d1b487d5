// What a simulated worker's process holds, and loses when it is killed; private to node.cpp and node_commit.cpp.
#pragma once

#include <list>
#include <vector>

#include "tests/sim/node.hpp"

namespace dmq::sim {

// A turn with what its views point into, which stays where it is.
struct Node::Gathered {
  Turn turn;
  std::list<std::string> payloads;
  std::vector<std::shared_ptr<const std::string>> records;
  std::size_t requests = 0;
};

struct Node::Process {
  struct FromPeer {
    std::shared_ptr<const PeerMessage> message;
    std::shared_ptr<const std::string> records;
  };
  struct FromRouter {
    Endpoint router;
    Frames frames;
  };

  std::shared_ptr<MetadTie> tie;
  std::unique_ptr<Service> service;
  std::unique_ptr<Gathered> gathering = std::make_unique<Gathered>();
  std::unique_ptr<Gathered> committing;  // until the loop knows how it went
  bool stored = false;                   // it is on the disk already
  std::optional<Result<void>> outcome;
  std::deque<FromPeer> peers;
  std::deque<FromRouter> requests;
  Outbox out;
  TimeMs effects_due;
};

}  // namespace dmq::sim
