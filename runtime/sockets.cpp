// Settings measured on libzmq 4.3.4; the reasons stand beside them.
#include "runtime/sockets.hpp"

#include <cerrno>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace dmq {
namespace {

// libzmq is not built for ThreadSanitizer, which so cannot see that a frame's bytes were written before another thread
// got them. These two tell it, by the address of the bytes; without TSan they do nothing.
void give_away([[maybe_unused]] zmq::message_t& frame) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(frame.data());
#endif
}

void take_over([[maybe_unused]] zmq::message_t& frame) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(frame.data());
#endif
}

// Only for those that ask for it: with IPv6 allowed, a name is looked up there first and "*" means another thing.
void allow_ipv6(zmq::socket_t& socket, std::string_view endpoint) {
  socket.set(zmq::sockopt::ipv6, endpoint.find("://[") != std::string_view::npos || endpoint.starts_with("["));
}

void set_heartbeats(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::heartbeat_ivl, 1000);
  socket.set(zmq::sockopt::heartbeat_timeout, 3000);
  socket.set(zmq::sockopt::heartbeat_ttl, 3000);
}

void set_keep_alive(zmq::socket_t& socket) {
  socket.set(zmq::sockopt::tcp_keepalive, 1);
  socket.set(zmq::sockopt::tcp_keepalive_idle, 3);   // seconds
  socket.set(zmq::sockopt::tcp_keepalive_intvl, 1);  // likewise
  socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
  socket.set(zmq::sockopt::tcp_maxrt, 5000);  // ms that what was sent may stay unacknowledged
}

}  // namespace

zmq::socket_t make_socket(zmq::context_t& context, zmq::socket_type type, const SocketLimits& limits) {
  zmq::socket_t socket(context, type);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, limits.messages);
  socket.set(zmq::sockopt::rcvhwm, limits.messages);
  socket.set(zmq::sockopt::maxmsgsize, limits.frame_bytes);
  // A peer that opens a connection and says nothing, or stops saying anything, is dropped.
  socket.set(zmq::sockopt::handshake_ivl, 3000);
  limits.heartbeats ? set_heartbeats(socket) : set_keep_alive(socket);
  // Of a thousand clients that connect at once, those over the backlog would try again a second later.
  socket.set(zmq::sockopt::backlog, 1024);
  socket.set(zmq::sockopt::reconnect_ivl, 50);
  socket.set(zmq::sockopt::reconnect_ivl_max, 1000);
  socket.set(zmq::sockopt::immediate, limits.single_frames);
  // Without MANDATORY, a reply to a client that left is dropped in silence, and its leases run their full time.
  if (type == zmq::socket_type::router) socket.set(zmq::sockopt::router_mandatory, true);
  return socket;
}

std::string endpoint_of(std::string_view text) {
  return text.find("://") == std::string_view::npos ? "tcp://" + std::string(text) : std::string(text);
}

Result<std::string> bind_socket(zmq::socket_t& socket, const std::string& endpoint) {
  std::string address = endpoint_of(endpoint);
  // To listen, libzmq looks for an interface or an address and asks nobody for a name.
  constexpr std::string_view kLocalhost = "tcp://localhost:";
  if (address.starts_with(kLocalhost)) address.replace(0, kLocalhost.size(), "tcp://127.0.0.1:");
  try {
    allow_ipv6(socket, address);
    socket.bind(address);
    return socket.get(zmq::sockopt::last_endpoint);
  } catch (const zmq::error_t& error) {
    const std::string text = "cannot listen on '" + endpoint + "': " + error.what();
    // The text is wrong, or names an address or interface that this machine does not have.
    if (error.num() == EINVAL || error.num() == EPROTONOSUPPORT || error.num() == ENODEV) {
      return fail(Errc::kInvalidArgument, text + "; write tcp://HOST:PORT, with an address of this machine");
    }
    const bool taken = error.num() == EADDRINUSE;
    return fail(Errc::kUnavailable, text + (taken ? "; stop who has it, or choose another port" : ""));
  }
}

Result<void> connect_socket(zmq::socket_t& socket, const std::string& endpoint) {
  try {
    allow_ipv6(socket, endpoint);
    socket.connect(endpoint_of(endpoint));
    return {};
  } catch (const zmq::error_t& error) {
    return fail(Errc::kInvalidArgument,
                "cannot connect to '" + endpoint + "': " + error.what() + "; an endpoint looks like tcp://host:7310");
  }
}

zmq::message_t make_frame(std::string bytes) {
  constexpr std::size_t kCopyBelow = 512;  // a copy is cheaper than an allocation for the owner
  if (bytes.size() < kCopyBelow) return zmq::message_t(bytes.data(), bytes.size());
  auto* owner = new std::string(std::move(bytes));
  return zmq::message_t(
      owner->data(), owner->size(), [](void*, void* hint) { delete static_cast<std::string*>(hint); }, owner);
}

zmq::message_t copy_frame(std::string_view bytes) { return zmq::message_t(bytes.data(), bytes.size()); }

zmq::message_t ticket_frame(zmq::message_t frame, std::shared_ptr<const void> ticket) {
  struct Owner {
    zmq::message_t frame;
    std::shared_ptr<const void> ticket;
  };
  auto* owner = new Owner{std::move(frame), std::move(ticket)};
  const auto end = [](void*, void* hint) {
    auto* ended = static_cast<Owner*>(hint);
    take_over(ended->frame);
    delete ended;
  };
  return zmq::message_t(owner->frame.data(), owner->frame.size(), end, owner);
}

bool receive_frames(zmq::socket_t& socket, std::vector<zmq::message_t>& frames, std::size_t frames_max) {
  frames.clear();
  bool too_many = false;
  for (bool more = true; more;) {
    zmq::message_t frame;
    if (!socket.recv(frame, zmq::recv_flags::dontwait)) return false;
    take_over(frame);
    more = frame.more();
    if (frames.size() == frames_max) too_many = true;
    if (!too_many) frames.push_back(std::move(frame));
  }
  if (too_many) frames.clear();
  return true;
}

SendOutcome send_frames(zmq::socket_t& socket, std::vector<zmq::message_t>& frames) {
  // The outcome is decided on the first frame: once it is taken, the rest of the message is.
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto flags =
        zmq::send_flags::dontwait | (i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
    try {
      give_away(frames[i]);
      if (!socket.send(frames[i], flags)) return SendOutcome::kFull;
    } catch (const zmq::error_t& error) {
      if (error.num() == EHOSTUNREACH) return SendOutcome::kNoPeer;
      throw;
    }
  }
  return SendOutcome::kSent;
}

}  // namespace dmq
