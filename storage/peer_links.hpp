// The sockets between replicas: publish and subscribe for the log, ROUTER and DEALER for acknowledgements and fetches.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "protocol/catalog.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/replication.hpp"
#include "runtime/peer_socket.hpp"
#include "storage/outbox.hpp"

namespace dmq {

struct PeerOptions {
  std::string log_listen;      // for the PUB socket; empty: this worker cannot be followed
  std::string peer_listen;     // for the ROUTER socket
  std::string advertise_host;  // by which other workers reach both; empty: as bound
  int publish_max = 1000;      // messages that wait for a slow follower before they are dropped
};

// Frames are [topic][message][records] on PUB, the topic being the partition in two bytes, big-endian, and
// [message][records] between ROUTER and DEALER; the records' frame is absent where there are none. All of it may be
// lost, doubled or late: the replica core sorts it out. Owned and called by the worker's loop.
class PeerLinks {
 public:
  // Errors: unavailable (cannot listen), invalid_argument.
  static Result<std::unique_ptr<PeerLinks>> open(zmq::context_t& context, PeerOptions options);

  const std::string& log_endpoint() const { return log_endpoint_; }  // as others connect
  const std::string& peer_endpoint() const { return peer_endpoint_; }

  // Connects to the workers that `self` follows. To others it connects when something is to be sent to them.
  void follow(const CatalogCopy& catalog, const std::string& self);

  void add_poll_items(std::vector<zmq::pollitem_t>& items);
  // Reads what waits, bounded. `take` returns true when it keeps views into the records; then it takes the frame too.
  using Take = std::function<void(const PeerMessage& message, zmq::message_t& records)>;
  bool drain(const Take& take);
  void send(PeerFrame frame);

  std::uint64_t dropped() const { return dropped_; }  // frames that could not be read, or not be sent

 private:
  // Another worker: we follow what it leads, or it follows us.
  struct Peer {
    Peer(zmq::context_t& context, const PeerOptions& options, const WorkerInfo& worker);
    std::string log_endpoint;
    std::string peer_endpoint;
    zmq::socket_t log;                 // SUB
    PeerSocket requests;               // our acknowledgements and fetches, its answers
    std::set<PartitionId> subscribed;  // what it leads and we follow
  };

  PeerLinks(zmq::context_t& context, PeerOptions options);
  Result<void> bind();
  bool reach(const std::string& name);
  bool connect(const std::string& name, const WorkerInfo& worker);
  static void subscribe(Peer& peer, std::set<PartitionId> wanted);
  bool drain_requests(Peer& peer, const Take& take);
  bool drain_socket(zmq::socket_t& socket, std::size_t skip, const Take& take);

  zmq::context_t& context_;
  PeerOptions options_;
  zmq::socket_t log_;        // PUB
  zmq::socket_t followers_;  // ROUTER
  std::string log_endpoint_;
  std::string peer_endpoint_;
  std::map<std::string, Peer> peers_;          // by name
  std::map<std::string, WorkerInfo> workers_;  // all there are
  std::map<std::string, std::string> routes_;  // name to its routing id at `followers_`
  MsgpackReader reader_;
  std::uint64_t dropped_ = 0;
};

}  // namespace dmq
