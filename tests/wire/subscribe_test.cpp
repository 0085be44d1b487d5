// Subscriptions of the C++ client, against a real broker.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <optional>

#include "dmq/broker.hpp"
#include "dmq/client.hpp"

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

dmq::Client connect(const std::string& endpoint) {
  dmq::ClientOptions options;
  options.endpoints = {endpoint};
  return dmq::Client(options);
}

// A client that subscribes to "q", and what came.
struct Subscriber {
  explicit Subscriber(const std::string& endpoint, std::uint64_t credit = 100) : client(connect(endpoint)) {
    dmq::SubscribeOptions options;
    options.credit = credit;
    client.subscribe("q", options, [this](dmq::ReceiveResult result) {
      if (result.failure) failure = result.failure;
      for (auto& lease : result.leases) held.push_back(std::move(lease));
    });
  }
  // Until so many are held, or for as long as nothing is to come.
  std::string wait(std::size_t count, std::chrono::milliseconds span = 10s) {
    const auto end = steady_clock::now() + span;
    while (held.size() < count && !failure && steady_clock::now() < end) client.poll(50ms);
    std::string bodies;
    for (const auto& lease : held) bodies += (bodies.empty() ? "" : " ") + std::string(lease.body());
    return bodies;
  }

  dmq::Client client;
  std::vector<dmq::Lease> held;
  std::optional<dmq::Failure> failure;
};

}  // namespace

TEST_CASE("messages come to a subscriber as far as its credit goes", "[broker]") {
  const dmq::Broker broker;
  auto producer = connect(broker.endpoint());
  Subscriber subscriber(broker.endpoint(), 2);
  for (const char* body : {"a", "b", "c"}) producer.send("q", body);
  CHECK(subscriber.wait(2) == "a b");
  CHECK(subscriber.wait(3, 200ms) == "a b");
  subscriber.held[0].ack();
  CHECK(subscriber.wait(3) == "a b c");
  CHECK_THROWS_AS(subscriber.client.subscribe("q", {}, [](dmq::ReceiveResult) {}), dmq::ClientError);
}

TEST_CASE("what is on its way when a client unsubscribes goes back", "[broker]") {
  const dmq::Broker broker;
  auto producer = connect(broker.endpoint());
  Subscriber subscriber(broker.endpoint());
  producer.send("q", "a");
  CHECK(subscriber.wait(1) == "a");
  SECTION("unsubscribe") {
    producer.send("q", "b");
    subscriber.client.unsubscribe("q");
    subscriber.client.unsubscribe("q");
    subscriber.client.flush(10s);
    CHECK(subscriber.wait(2, 200ms) == "a");
  }
  SECTION("close") {
    producer.send("q", "b");
    CHECK(subscriber.client.close(10s));
    CHECK_FALSE(subscriber.failure);
  }
  dmq::ReceiveOptions options;
  options.wait = 10s;
  auto rest = producer.receive("q", options);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0].body() == "b");
  CHECK(producer.describe_queue("q").number("waiting") == 0);
}

TEST_CASE("a subscription goes on when the broker comes back", "[broker]") {
  const std::string directory =
      std::filesystem::temp_directory_path() / ("dmq-subscribe-" + std::to_string(::getpid()));
  dmq::BrokerOptions options;
  options.data_dir = directory;
  std::optional<dmq::Broker> broker(std::in_place, options);
  options.listen = broker->endpoint();
  {
    Subscriber subscriber(broker->endpoint());
    connect(broker->endpoint()).send("q", "a");
    CHECK(subscriber.wait(1) == "a");
    subscriber.held[0].ack();
    broker.reset();
    broker.emplace(options);
    connect(broker->endpoint()).send("q", "b");
    CHECK(subscriber.wait(2) == "a b");
  }
  broker.reset();
  std::filesystem::remove_all(directory);
}

TEST_CASE("a subscriber is told when its queue is deleted", "[broker]") {
  const dmq::Broker broker;
  Subscriber subscriber(broker.endpoint());
  connect(broker.endpoint()).create_queue("q");
  auto admin = connect(broker.admin_endpoint());
  const auto end = steady_clock::now() + 10s;
  while (admin.describe_queue("q").number("waiting") == 0 && steady_clock::now() < end) subscriber.client.poll(50ms);
  admin.delete_queue("q");
  subscriber.wait(1);
  REQUIRE(subscriber.failure);
  CHECK(subscriber.failure->code == "no_such_queue");
}
