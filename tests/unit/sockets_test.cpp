// Endpoints and what is said when one is wrong; frames that tell when they are gone.
#include "runtime/sockets.hpp"

#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <thread>

namespace dmq {

TEST_CASE("an endpoint without a transport is one of TCP", "[runtime][sockets]") {
  CHECK(endpoint_of("localhost:7310") == "tcp://localhost:7310");
  CHECK(endpoint_of("[::1]:7310") == "tcp://[::1]:7310");
  CHECK(endpoint_of("tcp://localhost:7310") == "tcp://localhost:7310");
  CHECK(endpoint_of("inproc://metad") == "inproc://metad");
}

TEST_CASE("a socket listens on host:port and tells the port that it took", "[runtime][sockets]") {
  zmq::context_t context;
  zmq::socket_t socket = make_socket(context, zmq::socket_type::router);
  const auto bound = bind_socket(socket, "127.0.0.1:*");
  REQUIRE(bound);
  CHECK(bound->starts_with("tcp://127.0.0.1:"));
  CHECK(bound->back() != '*');
}

TEST_CASE("localhost can be listened on", "[runtime][sockets]") {
  zmq::context_t context;
  zmq::socket_t socket = make_socket(context, zmq::socket_type::router);
  const auto bound = bind_socket(socket, "localhost:*");
  REQUIRE(bound);
  CHECK(bound->starts_with("tcp://127.0.0.1:"));
}

TEST_CASE("an address of IPv6 is understood where the system has IPv6", "[runtime][sockets]") {
  zmq::context_t context;
  zmq::socket_t server = make_socket(context, zmq::socket_type::router);
  const auto bound = bind_socket(server, "[::1]:*");
  // ENODEV would mean that the text was not taken for an address.
  if (!bound) {
    CHECK(bound.error().code == Errc::kUnavailable);
    return;
  }
  CHECK(bound->starts_with("tcp://[::1]:"));
  zmq::socket_t client = make_socket(context, zmq::socket_type::dealer);
  REQUIRE(connect_socket(client, *bound));
  zmq::pollitem_t item{client.handle(), 0, ZMQ_POLLOUT, 0};
  CHECK(zmq::poll(&item, 1, std::chrono::seconds(5)) == 1);
}

TEST_CASE("who listens on a wrong endpoint is told how one is written", "[runtime][sockets]") {
  zmq::context_t context;
  for (const std::string wrong : {"7310", "127.0.0.1", "tcp//127.0.0.1:1", "http://127.0.0.1:1", "tcp://127.0.0.1:x"}) {
    INFO(wrong);
    zmq::socket_t socket = make_socket(context, zmq::socket_type::router);
    const auto bound = bind_socket(socket, wrong);
    REQUIRE_FALSE(bound);
    CHECK(bound.error().code == Errc::kInvalidArgument);
    CHECK(bound.error().context.find("'" + wrong + "'") != std::string::npos);
    CHECK(bound.error().context.find("write tcp://HOST:PORT") != std::string::npos);
  }
}

TEST_CASE("a port that is taken is no wrong endpoint", "[runtime][sockets]") {
  zmq::context_t context;
  zmq::socket_t first = make_socket(context, zmq::socket_type::router);
  const auto bound = bind_socket(first, "127.0.0.1:*");
  REQUIRE(bound);
  zmq::socket_t second = make_socket(context, zmq::socket_type::router);
  const auto refused = bind_socket(second, *bound);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::kUnavailable);
  CHECK(refused.error().context.find("write tcp") == std::string::npos);
}

namespace {

constexpr std::size_t kLarge = 1 << 20;

// Looks again and again, for ten seconds at most.
template <class Condition>
bool comes_about(const Condition& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

// A value that tells when the last ticket is let go, by whatever thread.
struct Tickets {
  std::atomic<int> out = 0;
  std::shared_ptr<const void> take() {
    ++out;
    return {this, [](Tickets* tickets) { --tickets->out; }};
  }
};

zmq::message_t large_frame(Tickets& tickets) {
  return ticket_frame(make_frame(std::string(kLarge, 'x')), tickets.take());
}

bool send(zmq::socket_t& socket, zmq::message_t frame) {
  std::vector<zmq::message_t> frames;
  frames.push_back(std::move(frame));
  return send_frames(socket, frames) == SendOutcome::kSent;
}

// A listener and a socket that is connected to it, over TCP.
struct Pair {
  zmq::socket_t listener;
  zmq::socket_t sender;
  explicit Pair(zmq::context_t& context, int unread_max = 1000)
      : listener(make_socket(context, zmq::socket_type::pull, {unread_max, -1})),
        sender(make_socket(context, zmq::socket_type::push)) {
    const auto bound = bind_socket(listener, "127.0.0.1:*");
    REQUIRE(bound);
    REQUIRE(connect_socket(sender, *bound));
  }
};

}  // namespace

TEST_CASE("a frame with a ticket has the same bytes, and lets the ticket go at its end", "[runtime][sockets]") {
  Tickets tickets;
  for (const std::size_t size : std::array<std::size_t, 4>{0, 10, 600, kLarge}) {
    const std::string bytes(size, 'y');
    std::optional<zmq::message_t> frame = ticket_frame(make_frame(bytes), tickets.take());
    CHECK(bytes_of(*frame) == bytes);
    CHECK(tickets.out == 1);
    frame.reset();
    CHECK(tickets.out == 0);
  }
}

TEST_CASE("tickets are let go when their frames are sent", "[runtime][sockets]") {
  Tickets tickets;
  zmq::context_t context;
  Pair pair(context);
  REQUIRE(comes_about([&] { return send(pair.sender, large_frame(tickets)); }));
  std::vector<zmq::message_t> frames;
  REQUIRE(comes_about([&] { return receive_frames(pair.listener, frames); }));
  CHECK(frames.at(0).size() == kLarge);
  CHECK(comes_about([&] { return tickets.out == 0; }));
}

TEST_CASE("tickets are let go when the context ends before their frames are sent", "[runtime][sockets]") {
  Tickets tickets;
  {
    zmq::context_t context;
    Pair pair(context, 1);  // nobody reads
    REQUIRE(comes_about([&] { return send(pair.sender, large_frame(tickets)); }));
    for (int i = 0; i < 200; ++i) send(pair.sender, large_frame(tickets));
    CHECK(tickets.out > 0);
  }
  CHECK(tickets.out == 0);
}

}  // namespace dmq
