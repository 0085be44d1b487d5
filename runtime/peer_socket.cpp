// Connections are watched through ZeroMQ's socket monitor: without it a lost peer would show only as silence.
#include "runtime/peer_socket.hpp"

#include <atomic>
#include <cstring>

namespace dmq {
namespace {

constexpr int kWatchedEvents = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;

}  // namespace

PeerSocket::PeerSocket(zmq::context_t& context, const SocketLimits& limits) : context_(context), limits_(limits) {
  open();
}

PeerSocket::~PeerSocket() { close(); }

void PeerSocket::open() {
  static std::atomic<std::uint64_t> count{0};
  const std::string events = "inproc://peer-" + std::to_string(++count);
  socket_ = make_socket(context_, zmq::socket_type::dealer, limits_);
  if (zmq_socket_monitor(socket_.handle(), events.c_str(), kWatchedEvents) != 0) throw zmq::error_t();
  events_ = zmq::socket_t(context_, zmq::socket_type::pair);
  events_.set(zmq::sockopt::linger, 0);
  events_.set(zmq::sockopt::rcvhwm, 0);  // a full pipe would block libzmq's thread, as a missing reader does
  events_.connect(events);
}

void PeerSocket::close() noexcept {
  // First, because libzmq's thread would wait for a reader that is gone.
  zmq_socket_monitor(socket_.handle(), nullptr, 0);
  events_.close();
  socket_.close();
}

Result<void> PeerSocket::connect(std::string endpoint) {
  if (auto connected = connect_socket(socket_, endpoint); !connected) return connected;
  endpoint_ = std::move(endpoint);
  up_ = endpoint_.starts_with("inproc:");  // such connections have no events and never break
  return {};
}

SendOutcome PeerSocket::send(std::vector<zmq::message_t>& frames) {
  if (!up_) read_events();
  return up_ ? send_frames(socket_, frames) : SendOutcome::kNoPeer;
}

bool PeerSocket::lost() {
  read_events();
  return lost_;
}

void PeerSocket::read_events() {
  for (std::vector<zmq::message_t> frames; receive_frames(events_, frames);) {
    std::uint16_t event = 0;
    if (frames.empty() || frames[0].size() < sizeof event) continue;
    std::memcpy(&event, frames[0].data(), sizeof event);
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) up_ = true;
    if (event == ZMQ_EVENT_DISCONNECTED && up_) lost_ = true;  // handshakes that fail are repeated by libzmq
  }
  if (lost_) up_ = false;  // until renew(), even when libzmq connected again meanwhile
}

void PeerSocket::renew() {
  close();
  open();
  up_ = false;
  lost_ = false;
  if (!endpoint_.empty()) (void)connect(std::string(endpoint_));  // its text was good the first time
}

}  // namespace dmq
