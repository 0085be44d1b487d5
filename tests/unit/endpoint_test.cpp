// Endpoints of the command line: what is taken for which use, and what is said of the rest.
#include "runtime/endpoint.hpp"

#include <catch2/catch.hpp>
#include <string>

namespace dmq {
namespace {

bool is_good(const std::string& endpoint, EndpointUse use) {
  const auto checked = check_endpoint("--flag", endpoint, use);
  if (checked) return true;
  INFO(checked.error().context);
  CHECK(checked.error().code == Errc::kInvalidArgument);
  CHECK(checked.error().context.starts_with("--flag "));
  CHECK(checked.error().context.find("; write tcp://") != std::string::npos);
  return false;
}

}  // namespace

TEST_CASE("an endpoint is a host and a port, a path, or a name in the process", "[runtime][endpoint]") {
  for (const std::string good : {"tcp://127.0.0.1:7310", "127.0.0.1:7310", "queue-1.example.org:65535", "tcp://[::1]:1",
                                 "tcp://eth0:7310", "ipc:///run/dmq", "ipc://@abstract", "inproc://metad"}) {
    INFO(good);
    CHECK(is_good(good, EndpointUse::kListen));
    CHECK(is_good(good, EndpointUse::kConnect));
  }
}

TEST_CASE("what is no endpoint is refused for every use", "[runtime][endpoint]") {
  for (const std::string wrong : {"",
                                  "foo",
                                  "7310",
                                  "tcp://",
                                  "tcp://host",
                                  "tcp://host:",
                                  "tcp://:7310",
                                  "tcp://host:65536",
                                  "tcp://host:x",
                                  "tcp://host:123456",
                                  "tcp//host:1",
                                  "http://host:1",
                                  "tcp://a b:1",
                                  "tcp://::1:7310",
                                  "tcp://[::1:7310",
                                  "tcp://[:7310",
                                  "tcp://[]:7310",
                                  "tcp://[foo]:7310",
                                  "ipc://",
                                  "inproc://",
                                  "host:7310/path"}) {
    INFO(wrong);
    CHECK_FALSE(is_good(wrong, EndpointUse::kListen));
    CHECK_FALSE(is_good(wrong, EndpointUse::kConnect));
    CHECK_FALSE(is_good(wrong, EndpointUse::kAdmin));
  }
  CHECK_FALSE(is_good("ipc://" + std::string(108, 'x'), EndpointUse::kListen));
}

TEST_CASE("one may listen everywhere and on any port, but not connect there", "[runtime][endpoint]") {
  for (const std::string open : {"tcp://*:7310", "tcp://0.0.0.0:*", "[::]:*", "127.0.0.1:0"}) {
    INFO(open);
    CHECK(is_good(open, EndpointUse::kListen));
  }
  for (const std::string none : {"tcp://*:7310", "tcp://host:*", "host:0"}) {
    INFO(none);
    CHECK_FALSE(is_good(none, EndpointUse::kConnect));
  }
}

TEST_CASE("administrators come from this machine", "[runtime][endpoint]") {
  for (const std::string here : {"tcp://127.0.0.1:7311", "127.200.3.4:*", "localhost:7311", "[::1]:7311",
                                 "ipc:///run/dmq-admin", "inproc://a"}) {
    INFO(here);
    CHECK(is_good(here, EndpointUse::kAdmin));
  }
  for (const std::string elsewhere :
       {"tcp://0.0.0.0:1", "tcp://*:7311", "10.0.0.1:7311", "[::]:7311", "eth0:7311", "lo:7311",
        "127.0.0.1.example.org:7311", "127.1:7311", "localhost.example.org:1"}) {
    INFO(elsewhere);
    CHECK_FALSE(is_good(elsewhere, EndpointUse::kAdmin));
  }
}

TEST_CASE("an endpoint on every interface is known as such", "[runtime][endpoint]") {
  for (const std::string everywhere : {"tcp://0.0.0.0:7310", "*:7310", "tcp://[::]:*"})
    CHECK(is_everywhere(everywhere));
  for (const std::string one : {"tcp://127.0.0.1:7310", "ipc://*", "host:1"}) CHECK_FALSE(is_everywhere(one));
}

}  // namespace dmq
