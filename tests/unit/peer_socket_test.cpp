// What becomes of messages when connections break: those of a DEALER that knows its peer, and those of a subscriber.
#include "runtime/peer_socket.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "runtime/data_directory.hpp"

namespace dmq {
namespace {

constexpr int kMessages = 500;

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

std::vector<zmq::message_t> message(const std::vector<std::string>& texts) {
  std::vector<zmq::message_t> frames;
  for (const std::string& text : texts) frames.push_back(make_frame(text));
  return frames;
}

bool send(PeerSocket& socket, const std::string& text) {
  auto frames = message({text, "header", "payload"});
  return socket.send(frames) == SendOutcome::kSent;
}

std::size_t count_waiting(zmq::socket_t& socket) {
  std::vector<zmq::message_t> frames;
  std::size_t count = 0;
  while (receive_frames(socket, frames)) count += frames.size() == 3 ? 1 : 1'000'000;  // a torn one spoils the count
  return count;
}

// Listens at one endpoint, goes away, and comes back.
class Listener {
 public:
  explicit Listener(zmq::context_t& context) : context_(context) { REQUIRE(open("127.0.0.1:*")); }
  // Listens there when open_again() says so.
  Listener(zmq::context_t& context, std::string endpoint) : context_(context), endpoint_(std::move(endpoint)) {}
  void close() { socket_.close(); }
  void open_again() {
    REQUIRE(comes_about([&] { return open(endpoint_); }));
  }
  const std::string& endpoint() const { return endpoint_; }
  // The text of the next message; empty when none waits.
  std::string read() {
    if (!receive_frames(socket_, frames_)) return "";
    return frames_.size() == 4 ? std::string(bytes_of(frames_[1])) : "torn";
  }
  // Has `text` sent until a message is here, and returns what that says. Whoever listened here before may take a
  // connection while it closes.
  std::string read_first(PeerSocket& socket, const std::string& text) {
    std::string first;
    REQUIRE(comes_about([&] {
      if (socket.lost()) socket.renew();
      send(socket, text);
      first = read();
      return !first.empty();
    }));
    return first;
  }
  // Answers who was read last, and returns when all of it has left. That it also arrived, nobody here can see: what is
  // sent over loopback is in the other end's buffer.
  void answer(int count) {
    std::atomic<int> out = 0;
    for (int i = 0; i < count; ++i) {
      std::vector<zmq::message_t> answer;
      answer.push_back(copy_frame(bytes_of(frames_[0])));
      answer.push_back(copy_frame("envelope"));
      answer.push_back(copy_frame("header"));
      ++out;
      answer.push_back(ticket_frame(make_frame("payload"), {&out, [](std::atomic<int>* left) { --*left; }}));
      REQUIRE(send_frames(socket_, answer) == SendOutcome::kSent);
    }
    REQUIRE(comes_about([&] { return out == 0; }));
  }

 private:
  bool open(const std::string& endpoint) {
    socket_ = make_socket(context_, zmq::socket_type::router);
    auto bound = bind_socket(socket_, endpoint);
    if (bound) endpoint_ = *bound;
    return bound.has_value();
  }
  zmq::context_t& context_;
  zmq::socket_t socket_;
  std::string endpoint_;
  std::vector<zmq::message_t> frames_;
};

}  // namespace

TEST_CASE("what is for a peer that is not there is refused, and left as it was", "[runtime][peer_socket]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  Listener listener(context, "ipc://" + directory.path() + "/socket");
  PeerSocket socket(context, {});
  REQUIRE(socket.connect(listener.endpoint()));
  auto frames = message({"header", "payload"});
  CHECK(socket.send(frames) == SendOutcome::kNoPeer);
  CHECK(bytes_of(frames.at(0)) == "header");
  CHECK(bytes_of(frames.at(1)) == "payload");
  CHECK_FALSE(socket.lost());
  listener.open_again();
  CHECK(listener.read_first(socket, "later") == "later");
}

TEST_CASE("an endpoint that is none has no peer", "[runtime][peer_socket]") {
  zmq::context_t context;
  PeerSocket socket(context, {});
  CHECK(socket.connect("http://127.0.0.1").error().code == Errc::kInvalidArgument);
  CHECK_FALSE(send(socket, "x"));
  socket.renew();
  CHECK_FALSE(send(socket, "x"));
}

TEST_CASE("over inproc the peer is always there", "[runtime][peer_socket]") {
  zmq::context_t context;
  zmq::socket_t listener = make_socket(context, zmq::socket_type::router);
  REQUIRE(bind_socket(listener, "inproc://listener"));
  PeerSocket socket(context, {});
  REQUIRE(socket.connect("inproc://listener"));
  CHECK(send(socket, "x"));
  CHECK_FALSE(socket.lost());
}

// With IMMEDIATE libzmq 4.3.4 ends the process here: it learns of the loss in the middle of a message.
TEST_CASE("what came before a connection was lost can be read to its end", "[runtime][peer_socket]") {
  zmq::context_t context;
  Listener listener(context);
  PeerSocket socket(context, {});
  REQUIRE(socket.connect(listener.endpoint()));
  REQUIRE(listener.read_first(socket, "hello") == "hello");
  listener.answer(kMessages);
  std::vector<zmq::message_t> frames;
  REQUIRE(comes_about([&] { return receive_frames(socket.socket(), frames); }));
  listener.close();
  REQUIRE(comes_about([&] { return socket.lost(); }));
  CHECK(count_waiting(socket.socket()) == kMessages - 1);
}

TEST_CASE("a connection that is lost takes nothing, and nothing of it reaches the next one", "[runtime][peer_socket]") {
  zmq::context_t context;
  Listener listener(context);
  PeerSocket socket(context, {});
  REQUIRE(socket.connect(listener.endpoint()));
  REQUIRE(listener.read_first(socket, "first") == "first");
  listener.close();
  // Whether libzmq knows of the loss already or not: these wait in a pipe, and must not come out of it later.
  for (int i = 0; i < kMessages; ++i) send(socket, "old");
  REQUIRE(comes_about([&] { return socket.lost(); }));
  CHECK_FALSE(send(socket, "old"));
  socket.renew();
  listener.open_again();
  CHECK(listener.read_first(socket, "new") == "new");
}

TEST_CASE("a socket is renewed again and again", "[runtime][peer_socket]") {
  zmq::context_t context;
  Listener listener(context);
  PeerSocket socket(context, {});
  REQUIRE(socket.connect(listener.endpoint()));
  for (int i = 0; i < 5; ++i) {
    CHECK(listener.read_first(socket, std::to_string(i)) == std::to_string(i));
    listener.close();
    REQUIRE(comes_about([&] { return socket.lost(); }));
    socket.renew();
    listener.open_again();
  }
}

TEST_CASE("a socket may end before its peer, and with events that nobody read", "[runtime][peer_socket]") {
  zmq::context_t context;
  Listener listener(context);
  {
    PeerSocket socket(context, {});
    REQUIRE(socket.connect(listener.endpoint()));
    REQUIRE(listener.read_first(socket, "x") == "x");
    listener.close();
  }
  listener.open_again();  // libzmq's thread still works
  PeerSocket other(context, {});
  REQUIRE(other.connect(listener.endpoint()));
  CHECK(listener.read_first(other, "y") == "y");
}

TEST_CASE("a subscriber reads to the end what a publisher sent that is gone", "[runtime][sockets]") {
  zmq::context_t context;
  auto publisher = std::make_unique<zmq::socket_t>(make_socket(context, zmq::socket_type::pub));
  const auto bound = bind_socket(*publisher, "127.0.0.1:*");
  REQUIRE(bound);
  zmq::socket_t subscriber = make_socket(context, zmq::socket_type::sub);
  REQUIRE(zmq_socket_monitor(subscriber.handle(), "inproc://events", ZMQ_EVENT_DISCONNECTED) == 0);
  zmq::socket_t events(context, zmq::socket_type::pair);
  events.connect("inproc://events");
  subscriber.set(zmq::sockopt::subscribe, "");
  REQUIRE(connect_socket(subscriber, *bound));
  std::vector<zmq::message_t> frames;
  REQUIRE(comes_about([&] {
    auto again = message({"hello", "header", "payload"});
    return send_frames(*publisher, again) == SendOutcome::kSent && receive_frames(subscriber, frames);
  }));
  count_waiting(subscriber);
  std::atomic<int> out = 0;
  for (int i = 0; i < kMessages; ++i) {
    auto numbered = message({std::to_string(i), "header"});
    ++out;
    numbered.push_back(ticket_frame(make_frame("records"), {&out, [](std::atomic<int>* left) { --*left; }}));
    REQUIRE(send_frames(*publisher, numbered) == SendOutcome::kSent);
  }
  REQUIRE(comes_about([&] { return out == 0; }));
  REQUIRE(comes_about([&] { return receive_frames(subscriber, frames) && bytes_of(frames.at(0)) == "0"; }));
  publisher.reset();
  REQUIRE(comes_about([&] { return receive_frames(events, frames); }));
  zmq_socket_monitor(subscriber.handle(), nullptr, 0);
  CHECK(count_waiting(subscriber) == kMessages - 1);
}

}  // namespace dmq
