// Durations on the command line: what is taken, what is said of the rest, and how defaults are shown.
#include "runtime/flags.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

struct Program {
  DurationMs value;
  CLI::App app{"for a test", "program"};
  explicit Program(std::int64_t start) : value{start} { add_duration(app, "--wait", value, "How long to wait"); }
  // The milliseconds, or what is wrong.
  std::string parse(const std::string& text) {
    try {
      app.parse(std::vector<std::string>{"--wait=" + text});
      return std::to_string(value.value);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
  }
};

}  // namespace

TEST_CASE("a duration has a unit, or is in seconds", "[runtime][flags]") {
  CHECK(Program(0).parse("250ms") == "250");
  CHECK(Program(0).parse("5") == "5000");
  CHECK(Program(0).parse("1.5s") == "1500");
  CHECK(Program(0).parse("2m") == "120000");
  CHECK(Program(0).parse("1h") == "3600000");
  CHECK(Program(0).parse("1d") == "86400000");
}

TEST_CASE("a duration that cannot be read is answered with the forms that can", "[runtime][flags]") {
  for (const std::string wrong : {"soon", "5 x", "5y", "-1s", "s", "1e300h"}) {
    INFO(wrong);
    const std::string said = Program(0).parse(wrong);
    CHECK(said.find("--wait: '" + wrong + "' is no duration: write 500ms, 5s, 2m, 1h") == 0);
    CHECK(said.find("a bare number is in seconds") != std::string::npos);
  }
}

TEST_CASE("the default of a duration is shown as it would be typed", "[runtime][flags]") {
  const auto shown = [](std::int64_t ms) { return Program(ms).app.get_option("--wait")->get_default_str(); };
  CHECK(shown(0) == "0s");
  CHECK(shown(250) == "250ms");
  CHECK(shown(30'000) == "30s");
  CHECK(shown(90'000) == "90s");
  CHECK(shown(120'000) == "2m");
  CHECK(shown(3'600'000) == "1h");
  CHECK(shown(86'400'000) == "24h");
  CHECK(Program(0).app.help().find("a bare number is in seconds") != std::string::npos);
}

}  // namespace dmq
