// ZeroMQ sockets as dmq sets them up, and frames to and from bytes.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>
#include <zmq.hpp>

#include "protocol/error.hpp"

namespace dmq {

// How much may wait in a socket's pipe, in messages, and the largest frame from a peer, in bytes (-1: no bound).
struct SocketLimits {
  int messages = 10'000;
  std::int64_t frame_bytes = -1;
  // ZMTP's heartbeats. Where messages pile up by design (a slow follower), libzmq 4.3.4 ends the process when one is
  // missed on a socket whose input is stopped (its issues 3937, 4364); TCP's own keep-alive takes their place there.
  bool heartbeats = true;
  // All messages that come have one frame. Only then may a connection refuse what is sent while its peer is not there
  // (IMMEDIATE): libzmq 4.3.4 drops such a connection at once when it breaks, even when the first frame of a message
  // has been read from it, and reading the second one then ends the process (its issue 3663). For others: PeerSocket.
  bool single_frames = false;
};

// A socket with LINGER 0, heartbeats, a bound on handshakes, and finite high-water marks; a ROUTER also reports peers
// that are gone (ROUTER_MANDATORY) instead of dropping what is for them.
zmq::socket_t make_socket(zmq::context_t& context, zmq::socket_type type, const SocketLimits& limits = {});

// An endpoint as people write it: "host:port" is "tcp://host:port"; one with its transport stays as it is.
std::string endpoint_of(std::string_view text);

// Binds, and returns the endpoint with the port that was really taken ("tcp://127.0.0.1:*" picks one). The endpoint may
// be "host:port". Errors: invalid_argument when its text is wrong, unavailable with the system's reason.
Result<std::string> bind_socket(zmq::socket_t& socket, const std::string& endpoint);

// The endpoint may be "host:port". Errors: invalid_argument when its text is wrong. An absent peer is no error.
Result<void> connect_socket(zmq::socket_t& socket, const std::string& endpoint);

// The bytes of a frame, valid as long as the frame.
inline std::string_view bytes_of(const zmq::message_t& frame) {
  return {static_cast<const char*>(frame.data()), frame.size()};
}

// A frame that takes over the string: no copy of large contents.
zmq::message_t make_frame(std::string bytes);
zmq::message_t copy_frame(std::string_view bytes);
// The same bytes, not copied. `ticket` is let go when nobody needs them any more: when they are sent or dropped, on
// libzmq's thread, perhaps while its context ends.
zmq::message_t ticket_frame(zmq::message_t frame, std::shared_ptr<const void> ticket);

// Receives all frames of one waiting message. False: none is waiting. More than `frames_max` frames are read and
// dropped, and `frames` is left empty, which no valid message is.
bool receive_frames(zmq::socket_t& socket, std::vector<zmq::message_t>& frames, std::size_t frames_max = 8);

enum class SendOutcome { kSent, kNoPeer, kFull };

// Sends all frames or none, without waiting. On a ROUTER the first frame names the peer: kNoPeer means that it is
// gone, kFull that its pipe is. On a failure the frames are left as they were.
SendOutcome send_frames(zmq::socket_t& socket, std::vector<zmq::message_t>& frames);

}  // namespace dmq
