// What a command of dmq-recv --exec learns of its message, and how its program is found.
#include "clients/cli/exec_environment.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "clients/cli/exec_command.hpp"
#include "clients/cpp/lease.hpp"

namespace dmq::cli {
namespace {

using namespace std::string_view_literals;

// The environment of a command for this message.
std::vector<std::string> environment_for(Delivery delivery, std::vector<const char*> inherited = {}) {
  const auto holder = std::make_shared<LeaseHolder>(std::weak_ptr<ClientLoop>(), "jobs", nullptr);
  std::vector<Delivery> deliveries;
  deliveries.push_back(std::move(delivery));
  const auto leases = holder->make_leases(deliveries);
  inherited.push_back(nullptr);
  return exec_environment(leases[0], "tcp://here:7310", inherited.data());
}

bool has(const std::vector<std::string>& variables, const std::string& variable) {
  return std::count(variables.begin(), variables.end(), variable) == 1;
}

bool has_name(const std::vector<std::string>& variables, const std::string& name) {
  return std::any_of(variables.begin(), variables.end(),
                     [&](const auto& each) { return each.starts_with(name + "="); });
}

}  // namespace

TEST_CASE("a command learns what a message carries, and keeps what was there before", "[client][cli]") {
  Delivery delivery;
  delivery.id = "59-1";
  delivery.deliveries = 3;
  delivery.sent_ms = TimeMs{1700000000123};
  delivery.priority = 9;
  delivery.expires_ms = TimeMs{1700000060123};
  delivery.attributes.content_type = "text/plain";
  delivery.attributes.headers = {{"x-colour", "red"}, {"Größe", "\xff\xfe"}};
  const auto variables = environment_for(delivery, {"PATH=/bin", "DMQ_TIMEOUT=9s"});
  for (const char* variable :
       {"PATH=/bin", "DMQ_TIMEOUT=9s", "DMQ_ENDPOINT=tcp://here:7310", "DMQ_MESSAGE_ID=59-1", "DMQ_QUEUE=jobs",
        "DMQ_DELIVERIES=3", "DMQ_SENT_MS=1700000000123", "DMQ_PRIORITY=9", "DMQ_EXPIRES_MS=1700000060123",
        "DMQ_CONTENT_TYPE=text/plain", "DMQ_HEADER_X_COLOUR=red", "DMQ_HEADER_GR____E=\xff\xfe",
        "DMQ_HEADERS={\"x-colour\":\"red\",\"Größe_base64\":\"//4=\"}"}) {
    CHECK(has(variables, variable));
  }
}

TEST_CASE("what a message lacks is unset, also when an outer message had it", "[client][cli]") {
  const auto variables =
      environment_for({}, {"DMQ_REPLY_TO=outer", "DMQ_HEADER_A=outer", "DMQ_HEADERS={}", "DMQ_ENDPOINT=elsewhere"});
  for (const char* name : {"DMQ_EXPIRES_MS", "DMQ_CONTENT_TYPE", "DMQ_REPLY_TO", "DMQ_CORRELATION_ID",
                           "DMQ_TRACEPARENT", "DMQ_HEADERS", "DMQ_HEADER_A"}) {
    CHECK_FALSE(has_name(variables, name));
  }
  CHECK(has(variables, "DMQ_ENDPOINT=tcp://here:7310"));
}

TEST_CASE("of headers with one variable the first has it, and a zero byte fits none", "[client][cli]") {
  Delivery delivery;
  delivery.attributes.headers = {{"a-b", "first"}, {"a_b", "second"}, {"zero", "a\0b"sv}};
  const auto variables = environment_for(delivery);
  CHECK(has(variables, "DMQ_HEADER_A_B=first"));
  CHECK_FALSE(has(variables, "DMQ_HEADER_A_B=second"));
  CHECK_FALSE(has_name(variables, "DMQ_HEADER_ZERO"));
  CHECK(has(variables, "DMQ_HEADERS={\"a-b\":\"first\",\"a_b\":\"second\",\"zero\":\"a\\u0000b\"}"));
}

TEST_CASE("the program of a command line is its first word, unless it takes a shell to know", "[client][cli]") {
  CHECK(program_word("./resize --fast") == "./resize");
  CHECK(program_word("  sort|uniq") == "sort");
  for (const char* command : {"", "  ", "A=1 run", "\"my program\"", "$PROGRAM", "~/run", "(a; b)", "! true", "-x"}) {
    CHECK_FALSE(program_word(command));
  }
}

TEST_CASE("a command that is not there is told by its name", "[client][cli]") {
  CHECK_FALSE(command_fault("cat | wc -c"));
  CHECK_FALSE(command_fault("while read -r line; do :; done"));  // a keyword
  CHECK_FALSE(command_fault("$NEVER_SET"));                      // only running it can tell
  for (const char* command : {"no-such-program-here --flag", "/no/such/program", "/etc/passwd"}) {
    const auto fault = command_fault(command);
    REQUIRE(fault);
    CHECK(fault->find(*program_word(command)) != std::string::npos);
  }
}

}  // namespace dmq::cli
