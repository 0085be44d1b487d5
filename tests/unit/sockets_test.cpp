// Endpoints: how they may be written, and what is said when one is wrong.
#include "runtime/sockets.hpp"

#include <catch2/catch.hpp>

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

}  // namespace dmq
