// A client's connection: one DEALER to one router at a time, and the next router when that one is lost.
#pragma once

#include <atomic>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>
#include <zmq.hpp>

#include "dmq/client.hpp"
#include "protocol/ids.hpp"

namespace dmq {

inline constexpr TimeMs kNever{std::numeric_limits<std::int64_t>::max() / 2};

class Network {
 public:
  explicit Network(int threads) : context(threads) {}
  zmq::context_t context;
  std::atomic<std::uint64_t> connections{0};  // made so far, for names that differ
};

// Owned by one client, not thread-safe. What was sent before on_lost may be lost; a new socket is made for every
// connection, so nothing of an old one reaches a new one.
//
//   CONNECTING -- handshake --> UP -- disconnected, or change() --> CONNECTING (next endpoint)
//        '-- refused, or no handshake for kConnectWait --^
class Link {
 public:
  // Throws ClientError when an endpoint is no endpoint.
  Link(std::shared_ptr<Network> network, const std::vector<std::string>& endpoints, TimeMs now);
  ~Link() { close(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool up() const { return up_; }
  // False: the router is not there or does not read; try again after wait.
  bool send(std::string_view header, const std::shared_ptr<const std::string>& payload);
  // One waiting message without waiting. Empty payload when it has one frame; anything but one or two is dropped.
  bool receive(zmq::message_t& header, zmq::message_t& payload);
  // Reads what happened to the connection. True: it was lost since the last call.
  bool read_events(TimeMs now);
  // Gives the connection up and takes the next endpoint.
  void change(TimeMs now);
  // Does what is due: a connection that does not come about is tried elsewhere.
  void step(TimeMs now);
  TimeMs next_deadline() const { return connect_by_; }
  // Waits for something to read, an event, or `interrupt_fd`. True: interrupt_fd is readable.
  bool wait(DurationMs timeout, int interrupt_fd, bool want_to_send);
  const std::string& endpoint() const { return endpoints_[current_]; }
  std::string all_endpoints() const;

 private:
  void open(TimeMs now);
  void close() noexcept;

  std::shared_ptr<Network> network_;
  std::vector<std::string> endpoints_;
  std::size_t current_ = 0;
  zmq::socket_t socket_;
  zmq::socket_t events_;
  std::vector<zmq::message_t> frames_;
  bool up_ = false;
  bool refused_ = false;
  TimeMs connect_by_;  // CONNECTING: when the next endpoint has its turn; UP: never
};

}  // namespace dmq
