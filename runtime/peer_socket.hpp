// A DEALER to one peer, which knows whether the peer is there.
#pragma once

#include <string>
#include <vector>
#include <zmq.hpp>

#include "runtime/sockets.hpp"

namespace dmq {

// Connects, and connects again, by itself. What is to be sent is refused while no peer is there, so that nothing piles
// up for it and nothing is delivered long after its time. Over inproc the peer is always there. Belongs to one thread.
//
//   DOWN -- handshake --> UP -- disconnected --> LOST -- renew() --> DOWN
//
// P1  What was sent on a connection that is lost reaches no later one: renew() drops it with its socket.
// P2  What came before the connection was lost can be read until renew().
class PeerSocket {
 public:
  // Throws zmq::error_t when libzmq has no more sockets.
  PeerSocket(zmq::context_t& context, const SocketLimits& limits);
  ~PeerSocket();
  PeerSocket(const PeerSocket&) = delete;
  PeerSocket& operator=(const PeerSocket&) = delete;

  // Once. Errors: invalid_argument when the endpoint's text is wrong; the peer is then never there.
  Result<void> connect(std::string endpoint);

  // To poll it and to read from it.
  zmq::socket_t& socket() { return socket_; }
  // Sends all frames or none, without waiting. kNoPeer: the peer is not there, as far as is known; kFull: it does not
  // read. On a failure the frames are left as they were.
  SendOutcome send(std::vector<zmq::message_t>& frames);
  // Looks at what happened to the connection. True: it was lost; read what came, then renew(). Ask in every turn, or
  // each millisecond at the most: what is sent before the loss is known is lost.
  bool lost();
  void renew();

 private:
  void open();
  void close() noexcept;
  void read_events();

  zmq::context_t& context_;
  const SocketLimits limits_;
  std::string endpoint_;  // empty: not connected yet, or wrong
  zmq::socket_t socket_;
  zmq::socket_t events_;
  bool up_ = false;
  bool lost_ = false;
};

}  // namespace dmq
