// Sends messages to a queue, many under way at once, and says which were not taken.
//
// Usage: example-producer [QUEUE] [COUNT]      DMQ_ENDPOINT (tcp://127.0.0.1:7310)
//
// The library batches what send_async gathers, numbers the messages and repeats a request that got no reply, so each
// message is stored once.
#include <cstdlib>
#include <iostream>
#include <string>

#include "dmq/client.hpp"

namespace {

int produce(const std::string& endpoint, const std::string& queue, int count) {
  dmq::ClientOptions options;
  options.endpoints = {endpoint};
  dmq::Client client(options);
  int taken = 0;
  for (int i = 1; i <= count; ++i) {
    const dmq::OutgoingMessage message{"hello " + std::to_string(i), {{"n", std::to_string(i)}}};
    client.send_async(queue, message, [&taken, i](const dmq::SendResult& result) {
      if (result) {
        ++taken;  // a duplicate counts: an earlier try of it was stored
      } else {
        std::cerr << "producer: message " << i << " not taken: " << result.failure->code << ": "
                  << result.failure->message << "\n";
      }
    });
  }
  client.flush();
  std::cout << "sent " << taken << " messages to " << queue << "\n";
  return taken == count ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  const char* const endpoint = std::getenv("DMQ_ENDPOINT");
  try {
    return produce(endpoint != nullptr ? endpoint : "tcp://127.0.0.1:7310", argc > 1 ? argv[1] : "hello",
                   argc > 2 ? std::stoi(argv[2]) : 10);
  } catch (const dmq::ClientError& error) {
    std::cerr << "producer: " << error.code() << ": " << error.what() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "producer: " << error.what() << "\n";
  }
  return EXIT_FAILURE;
}
