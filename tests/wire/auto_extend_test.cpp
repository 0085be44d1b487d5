// Leases and consumers that the C++ client keeps, against a real broker.
#include <catch2/catch.hpp>
#include <chrono>

#include "dmq/broker.hpp"
#include "dmq/client.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kLease = 400ms;

dmq::Client connect(const dmq::Broker& broker) {
  dmq::ClientOptions options;
  options.endpoints = {broker.endpoint()};
  return dmq::Client(options);
}

dmq::ReceiveOptions kept(dmq::LostCallback on_lost = {}) {
  dmq::ReceiveOptions options;
  options.max = 10;
  options.lease = kLease;
  options.auto_extend = true;
  options.on_lost = std::move(on_lost);
  return options;
}

// Lets the client work for so long.
void poll_for(dmq::Client& client, std::chrono::milliseconds span) {
  const auto end = steady_clock::now() + span;
  while (steady_clock::now() < end) client.poll(50ms);
}

}  // namespace

TEST_CASE("a kept lease lasts as long as the work, and is then acked", "[broker]") {
  const dmq::Broker broker;
  auto worker = connect(broker);
  auto other = connect(broker);
  worker.send("q", "one");
  worker.send("q", "two");
  auto leases = worker.receive("q", kept());
  REQUIRE(leases.size() == 2);
  leases.erase(leases.begin() + 1);  // given back by its destructor, so not kept
  poll_for(worker, 4 * kLease);
  auto back = other.receive("q", kept());
  REQUIRE(back.size() == 1);
  CHECK(back[0].body() == "two");
  CHECK_FALSE(leases[0].lost());
  leases[0].ack();
  other.ack(back);
  CHECK(other.describe_queue("q").number("leased") == 0);
  CHECK(other.describe_queue("q").number("ready") == 0);
}

TEST_CASE("a kept lease that was lost is told once and not renewed any more", "[broker]") {
  const dmq::Broker broker;
  auto idle = connect(broker);
  auto other = connect(broker);
  other.send("q", "one");
  std::vector<dmq::LostLease> lost;
  auto leases = idle.receive("q", kept([&](const dmq::LostLease& lease) { lost.push_back(lease); }));
  REQUIRE(leases.size() == 1);
  // The client is not called for so long that the lease ends, and another consumer gets the message.
  dmq::ReceiveOptions wait;
  wait.wait = 10s;
  auto again = other.receive("q", wait);
  REQUIRE(again.size() == 1);
  CHECK(lost.empty());
  const auto end = steady_clock::now() + 10s;
  while (lost.empty() && steady_clock::now() < end) idle.poll(50ms);
  REQUIRE(lost.size() == 1);
  CHECK(lost[0].failure.code == "stale_receipt");
  CHECK(lost[0].id == again[0].id());
  CHECK(lost[0].queue == "q");
  CHECK(leases[0].lost());
  poll_for(idle, 2 * kLease);
  CHECK(lost.size() == 1);
  CHECK_THROWS_AS(leases[0].ack(), dmq::ClientError);
  other.ack(again);
}

TEST_CASE("a kept lease is lost in time when its broker is gone", "[broker]") {
  dmq::Broker broker;
  auto client = connect(broker);
  client.send("q", "one");
  std::string code;
  auto leases = client.receive("q", kept([&](const dmq::LostLease& lease) { code = lease.failure.code; }));
  REQUIRE(leases.size() == 1);
  broker.stop();
  const auto begin = steady_clock::now();
  while (code.empty() && steady_clock::now() < begin + 10s) client.poll(50ms);
  CHECK(code == "timeout");
  CHECK(leases[0].lost());
}

namespace {

dmq::ReceiveOptions named() {
  dmq::ReceiveOptions options;
  options.lease = 60s;
  options.consumer = "a";
  options.heartbeat = 300ms;
  return options;
}

}  // namespace

TEST_CASE("a consumer keeps its messages as long as its client is called, and loses them when it is silent",
          "[broker]") {
  const dmq::Broker broker;
  auto worker = connect(broker);
  auto other = connect(broker);
  other.send("q", "one");
  const auto leases = worker.receive("q", named());
  REQUIRE(leases.size() == 1);
  poll_for(worker, 1500ms);
  CHECK(other.receive("q").empty());
  dmq::ReceiveOptions wait;
  wait.wait = 20s;
  const auto begin = steady_clock::now();
  auto taken = other.receive("q", wait);
  REQUIRE(taken.size() == 1);
  CHECK(steady_clock::now() - begin < 20s);
  other.ack(taken);
}

TEST_CASE("a client that was closed says nothing more of its consumers", "[broker]") {
  const dmq::Broker broker;
  auto worker = connect(broker);
  auto other = connect(broker);
  other.send("q", "one");
  const auto leases = worker.receive("q", named());  // held, and not given back
  REQUIRE(leases.size() == 1);
  CHECK(worker.close(10s));
  dmq::ReceiveOptions wait;
  wait.wait = 20s;
  auto taken = other.receive("q", wait);
  REQUIRE(taken.size() == 1);
  other.ack(taken);
}
