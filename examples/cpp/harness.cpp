// A test with a whole broker inside: no process to start, no port to choose, nothing left behind.
//
// Usage: example-harness
#include <chrono>
#include <iostream>
#include <string>
#include <vector>

#include "dmq/broker.hpp"
#include "dmq/client.hpp"

namespace {

// What is tested: doubles each number of one queue into another.
void double_one(dmq::Client& client) {
  dmq::ReceiveOptions options;
  options.wait = std::chrono::seconds{5};
  std::vector<dmq::Lease> numbers = client.receive("numbers", options);
  for (const dmq::Lease& number : numbers)
    client.send("doubled", std::to_string(2 * std::stoi(std::string(number.body()))));
  client.ack(numbers);
}

}  // namespace

int main() {
  dmq::Broker broker;  // serves when the constructor returns, on a free port, with a temporary store
  dmq::ClientOptions options;
  options.endpoints = {broker.endpoint()};
  dmq::Client client(options);

  client.send("numbers", "21");
  double_one(client);
  std::vector<dmq::Lease> results = client.receive("doubled");
  const bool good = results.size() == 1 && results[0].body() == "42" && client.receive("numbers").empty();
  client.ack(results);
  std::cout << (good ? "passed: 21 became 42\n" : "failed\n");
  return good ? 0 : 1;
}  // the broker ends here, and its store is gone
