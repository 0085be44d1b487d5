// See link.hpp. Connections are watched through ZeroMQ's socket monitor: without it a lost router would show only
// as silence.
#include "clients/cpp/link.hpp"

#include <array>
#include <cstring>

#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr DurationMs kConnectWait{2'000};  // for a handshake, when nothing refuses it
constexpr DurationMs kRefusedPause{50};    // before the next endpoint, so that a dead broker is not hammered

constexpr int kWatchedEvents = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED |
                               ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                               ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;

// A frame over bytes that someone else keeps too, without a copy.
zmq::message_t shared_frame(const std::shared_ptr<const std::string>& bytes) {
  auto* owner = new std::shared_ptr<const std::string>(bytes);
  const auto let_go = [](void*, void* hint) { delete static_cast<std::shared_ptr<const std::string>*>(hint); };
  // ZeroMQ only reads what it sends.
  return zmq::message_t(const_cast<char*>(bytes->data()), bytes->size(), let_go, owner);
}

}  // namespace

std::shared_ptr<Network> make_network(int threads) { return std::make_shared<Network>(threads); }

Link::Link(std::shared_ptr<Network> network, const std::vector<std::string>& endpoints, TimeMs now)
    : network_(std::move(network)) {
  for (const std::string& endpoint : endpoints) endpoints_.push_back(endpoint_of(endpoint));
  if (endpoints_.empty()) throw ClientError({"invalid_argument", "no endpoint is given", false});
  open(now);
}

void Link::open(TimeMs now) {
  socket_ = make_socket(network_->context, zmq::socket_type::dealer);
  const std::string events = "inproc://dmq-client-" + std::to_string(++network_->connections);
  if (zmq_socket_monitor(socket_.handle(), events.c_str(), kWatchedEvents) != 0) throw zmq::error_t();
  events_ = zmq::socket_t(network_->context, zmq::socket_type::pair);
  events_.set(zmq::sockopt::linger, 0);
  events_.set(zmq::sockopt::rcvhwm, 0);  // a full pipe would block the I/O thread, as a missing reader does
  events_.connect(events);
  if (const auto connected = connect_socket(socket_, endpoint()); !connected) {
    throw ClientError({"invalid_argument", connected.error().context, false});
  }
  up_ = false;
  refused_ = false;
  connect_by_ = now + kConnectWait;
}

void Link::close() noexcept {
  // libzmq tells events with a send that blocks: without their reader the I/O thread of all clients would stand still.
  zmq_socket_monitor(socket_.handle(), nullptr, 0);
  events_.close();
  socket_.close();
}

bool Link::send(std::string_view header, const std::shared_ptr<const std::string>& payload) {
  if (!up_) return false;
  frames_.clear();
  frames_.push_back(copy_frame(header));
  if (payload != nullptr) frames_.push_back(shared_frame(payload));
  return send_frames(socket_, frames_) == SendOutcome::kSent;
}

bool Link::receive(zmq::message_t& header, zmq::message_t& payload) {
  while (receive_frames(socket_, frames_)) {
    if (frames_.empty() || frames_.size() > 2) continue;
    header = std::move(frames_[0]);
    payload = frames_.size() == 2 ? std::move(frames_[1]) : zmq::message_t();
    return true;
  }
  return false;
}

bool Link::read_events(TimeMs now) {
  std::vector<zmq::message_t> frames;
  bool lost = false;
  while (receive_frames(events_, frames)) {
    std::uint16_t event = 0;
    if (frames.empty() || frames[0].size() < sizeof event) continue;
    std::memcpy(&event, frames[0].data(), sizeof event);
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
      up_ = true;
      connect_by_ = kNever;
    } else if (up_) {
      lost = true;
      up_ = false;
      connect_by_ = now;
    } else if (!refused_) {
      refused_ = true;
      connect_by_ = now + kRefusedPause;
    }
  }
  return lost;
}

void Link::change(TimeMs now) {
  close();
  current_ = (current_ + 1) % endpoints_.size();
  open(now);
}

void Link::step(TimeMs now) {
  if (!up_ && connect_by_ <= now) change(now);
}

bool Link::wait(DurationMs timeout, int interrupt_fd, bool want_to_send) {
  const auto reading = static_cast<short>(want_to_send && up_ ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN);
  std::array<zmq::pollitem_t, 3> items{{{socket_.handle(), 0, reading, 0},
                                        {events_.handle(), 0, ZMQ_POLLIN, 0},
                                        {nullptr, interrupt_fd, ZMQ_POLLIN, 0}}};
  const int count = interrupt_fd < 0 ? 2 : 3;
  // Returns -1 when a signal came: the caller looks around as after any other wake-up.
  if (zmq_poll(items.data(), count, static_cast<long>(timeout.value)) < 0) {
    return false;
  }
  return count == 3 && items[2].revents != 0;
}

std::string Link::all_endpoints() const {
  std::string all;
  for (const std::string& endpoint : endpoints_) all += (all.empty() ? "" : ", ") + endpoint;
  return all;
}

}  // namespace dmq
