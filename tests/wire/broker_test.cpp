// The embedded broker: ready on return, several at once, its store kept or gone, its refusals in plain words.
#define CATCH_CONFIG_MAIN
#include "dmq/broker.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "dmq/client.hpp"
#include "runtime/data_directory.hpp"

namespace {

dmq::Client connect(const dmq::Broker& broker) {
  dmq::ClientOptions options;
  options.endpoints = {broker.endpoint()};
  return dmq::Client(options);
}

std::string receive_one(dmq::Client& client, const std::string& queue) {
  auto messages = client.receive(queue);
  if (messages.empty()) return "nothing";
  const std::string body(messages[0].body());
  client.ack(messages);
  return body;
}

dmq::BrokerOptions in_directory(const std::string& directory) {
  dmq::BrokerOptions options;
  options.data_dir = directory;
  return options;
}

// The words of the refusal, or "" when the broker started.
std::string refusal(const dmq::BrokerOptions& options) {
  try {
    const dmq::Broker broker(options);
    return {};
  } catch (const dmq::BrokerError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("a broker serves when its constructor returns", "[broker]") {
  const dmq::Broker broker;
  auto client = connect(broker);
  client.send("q", "hello");
  CHECK(receive_one(client, "q") == "hello");
}

TEST_CASE("two brokers in one process know nothing of each other", "[broker]") {
  const dmq::Broker first;
  const dmq::Broker second;
  CHECK(first.endpoint() != second.endpoint());
  auto to_first = connect(first);
  auto to_second = connect(second);
  to_first.send("q", "one");
  to_second.send("q", "two");
  CHECK(receive_one(to_first, "q") == "one");
  CHECK(receive_one(to_first, "q") == "nothing");
  CHECK(receive_one(to_second, "q") == "two");
}

TEST_CASE("a temporary store goes with its broker", "[broker]") {
  std::string directory;
  {
    const dmq::Broker broker;
    directory = broker.data_dir();
    CHECK(std::filesystem::exists(directory));
  }
  CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("a named store keeps its messages for the next broker", "[broker]") {
  const dmq::TemporaryDirectory directory;
  {
    const dmq::Broker broker(in_directory(directory.path()));
    connect(broker).send("q", "kept");
  }
  const dmq::Broker broker(in_directory(directory.path()));
  CHECK(broker.messages_found() == 1);
  auto client = connect(broker);
  CHECK(receive_one(client, "q") == "kept");
}

TEST_CASE("a broker that was stopped is stopped, and may be stopped again", "[broker]") {
  dmq::Broker broker;
  broker.stop();
  broker.stop();
  CHECK(broker.failure().empty());
  dmq::ClientOptions options;
  options.endpoints = {broker.endpoint()};
  options.retry_for = std::chrono::milliseconds{200};
  dmq::Client client(options);
  CHECK_THROWS_AS(client.ping(), dmq::ClientError);
}

TEST_CASE("queues are spread over several workers", "[broker]") {
  dmq::BrokerOptions options;
  options.workers = 3;
  const dmq::Broker broker(options);
  auto client = connect(broker);
  std::set<std::string> workers;
  for (int i = 0; i < 40; ++i) {
    const std::string queue = "q" + std::to_string(i);
    client.send(queue, queue);
    CHECK(receive_one(client, queue) == queue);
    workers.insert(client.describe_queue(queue).text("worker"));
  }
  CHECK(workers.size() == 3);
}

TEST_CASE("a broker with replicas serves at once, and its messages survive", "[broker]") {
  const dmq::TemporaryDirectory directory;
  dmq::BrokerOptions options = in_directory(directory.path());
  options.workers = options.replicas = 3;
  {
    const dmq::Broker broker(options);
    auto client = connect(broker);
    for (int i = 0; i < 20; ++i) client.send("q" + std::to_string(i), "body " + std::to_string(i));
    CHECK(receive_one(client, "q0") == "body 0");
  }
  const dmq::Broker broker(options);
  auto client = connect(broker);
  CHECK(receive_one(client, "q0") == "nothing");
  for (int i = 1; i < 20; ++i) CHECK(receive_one(client, "q" + std::to_string(i)) == "body " + std::to_string(i));
  options.replicas = 4;
  CHECK(refusal(options).find("replicas") != std::string::npos);
}

TEST_CASE("a store is not opened twice, nor with fewer workers than it was made with", "[broker]") {
  const dmq::TemporaryDirectory directory;
  auto options = in_directory(directory.path());
  options.workers = 2;
  {
    const dmq::Broker broker(options);
    CHECK(refusal(options).find("in use by another process") != std::string::npos);
  }
  options.workers = 1;
  CHECK(refusal(options).find("more workers") != std::string::npos);
}

TEST_CASE("what cannot be is refused in plain words", "[broker]") {
  const dmq::Broker broker;
  dmq::BrokerOptions options;
  options.listen = broker.endpoint();
  CHECK(refusal(options).find("cannot listen on") != std::string::npos);
  options = {};
  options.sync = "always";
  CHECK(refusal(options).find("always") != std::string::npos);
  options = {};
  options.workers = 0;
  CHECK(refusal(options).find("at least one worker") != std::string::npos);
}
