// How a C++ client lives through restarts of its broker: it goes on by itself, soon, on all of its queues.
#include <catch2/catch.hpp>
#include <chrono>
#include <iostream>

#include "dmq/client.hpp"
#include "tests/cluster/cluster.hpp"

using namespace dmq;
using namespace dmq::cluster;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

milliseconds since(steady_clock::time_point start) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
}

ClientOptions options_for(const Cluster& cluster, const std::shared_ptr<Network>& network) {
  ClientOptions options;
  options.endpoints = cluster.endpoints();
  options.network = network;
  return options;
}

}  // namespace

TEST_CASE("a send is confirmed in well under a second after the broker is back", "[cluster][client]") {
  Cluster cluster(Layout::kBroker);
  Daemon& broker = *cluster.daemons()[0];
  cluster.start();
  REQUIRE(cluster.await_listening().empty());
  Client client(options_for(cluster, make_network()));
  client.send("q", "before");
  milliseconds longest{0};
  for (const int away_ms : {0, 50, 500, 1500, 3000}) {
    REQUIRE(broker.kill());
    bool confirmed = false;
    client.send_async("q", "across", [&](const SendResult& result) { confirmed = static_cast<bool>(result); });
    const auto until = steady_clock::now() + milliseconds(away_ms);
    while (steady_clock::now() < until) client.poll(milliseconds(20));
    broker.start();
    REQUIRE(broker.await_listening());
    const auto back = steady_clock::now();
    client.flush();
    CHECK(confirmed);
    longest = std::max(longest, since(back));
  }
  std::cout << "longest from 'listening' to a confirmation: " << longest.count() << " ms\n";
  CHECK(longest < milliseconds(800));
}

// A client that closed its connection closed the reader of its events first. An event in between made libzmq's thread
// wait for that reader for ever, and with it every client of the network.
TEST_CASE("clients that end while they connect leave their network whole", "[cluster][client]") {
  Cluster cluster(Layout::kBroker);
  cluster.start();
  REQUIRE(cluster.await_listening().empty());
  ClientOptions options = options_for(cluster, make_network());
  options.linger = milliseconds(0);
  constexpr int kClients = 600;
  for (int i = 0; i < kClients; ++i) {
    Client client(options);
    client.poll(milliseconds(0));
    const auto until = steady_clock::now() + std::chrono::microseconds(i);  // so that some end at each step of it
    while (steady_clock::now() < until) client.unconfirmed();
  }
  options.retry_for = milliseconds(5000);
  Client last(options);
  last.send("q", "the network is alive");
}
