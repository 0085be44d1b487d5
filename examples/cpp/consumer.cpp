// Receives messages from a queue, works on each, and acks those that are done.
//
// Usage: example-consumer [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)
//
// COUNT 0 (the default) goes on until Ctrl-C. A message whose work fails is given back with a delay that grows with
// its deliveries; one that is still held when the program ends is given back by its destructor.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "dmq/client.hpp"

namespace {

using std::chrono::seconds;

void work(const dmq::Lease& message) {
  std::cout << message.id() << " (delivery " << message.deliveries() << "): " << message.body() << std::endl;
}

void consume(const std::string& endpoint, const std::string& queue, std::size_t count) {
  dmq::ClientOptions options;
  options.endpoints = {endpoint};
  dmq::Client client(options);
  dmq::ReceiveOptions receive;
  receive.wait = seconds{20};
  for (std::size_t done = 0; count == 0 || done < count;) {
    receive.max = count == 0 ? 100 : std::min<std::size_t>(100, count - done);
    std::vector<dmq::Lease> finished;
    for (dmq::Lease& message : client.receive(queue, receive)) {
      try {
        work(message);
        finished.push_back(std::move(message));
      } catch (const std::exception& error) {
        std::cerr << "consumer: " << message.id() << " goes back: " << error.what() << "\n";
        message.nack(seconds{1 << std::min(message.deliveries(), 9U)});
      }
    }
    if (finished.empty()) continue;
    const std::size_t stale = client.ack(finished);  // their leases ended before the ack: they come again
    if (stale > 0) std::cerr << "consumer: " << stale << " acks came too late\n";
    done += finished.size() - stale;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const char* const endpoint = std::getenv("DMQ_ENDPOINT");
  try {
    consume(endpoint != nullptr ? endpoint : "tcp://127.0.0.1:7310", argc > 1 ? argv[1] : "hello",
            argc > 2 ? std::stoul(argv[2]) : 0);
    return EXIT_SUCCESS;
  } catch (const dmq::ClientError& error) {
    std::cerr << "consumer: " << error.code() << ": " << error.what() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "consumer: " << error.what() << "\n";
  }
  return EXIT_FAILURE;
}
