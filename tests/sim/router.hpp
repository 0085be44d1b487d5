// A router of a simulated cluster: the real admission core over a cached catalog, in the loop of router/router.cpp.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "router/admission.hpp"
#include "router/spread.hpp"
#include "tests/sim/metad_tie.hpp"
#include "tests/sim/node.hpp"

namespace dmq::sim {

// A client's request or what answers it.
struct ClientFrames {
  std::string header;
  std::string payload;
};

class Router {
 public:
  struct Wires {
    std::function<void(Endpoint router, const std::string& worker, Frames frames)> request;
    // False: the client is gone. `sent`: when the worker sent it; mark 0: the router's own.
    std::function<bool(const std::string& client, const ClientFrames& reply, Moment sent)> reply;
  };

  Router(World& world, Network& network, Metad& metad, Endpoint self, const Wires& wires);

  void take_request(std::string client, ClientFrames frames);
  // From the worker at `worker`.
  void take_reply(const std::string& worker, Reply reply, Moment sent);

 private:
  struct Incoming {
    std::string client;
    ClientFrames frames;
    std::uint8_t hops = 0;
    std::optional<PartitionId> part;  // of a queue of several partitions
  };
  // A worker's reply, whose messages can go back to it.
  struct Origin {
    const std::string& worker;
    std::string& envelope;
    Moment sent;
  };
  void turn();
  TimeMs now() const { return {world_.now()}; }
  void dispatch(Incoming request);
  void dispatch_to_part(Incoming request);
  void spread(Incoming request);
  void put_out(Spread::Step step);
  void take_step(Spread::Step step, std::string payload, const Origin* origin);
  void reply(const std::string& client, ClientFrames frames, const Origin* origin);
  void give_back(const Origin& origin, ClientFrames frames);
  void forward(Incoming request, const Route& route);
  void hold_again(Incoming request);
  void refuse(const Incoming& request, const Error& error);

  World& world_;
  const Endpoint self_;
  const Wires& wires_;
  std::shared_ptr<MetadTie> tie_;
  Admission admission_;
  Spread spread_;
  MsgpackReader reader_;
  RequestHeader header_;
  Alarm alarm_;
};

}  // namespace dmq::sim
