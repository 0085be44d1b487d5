// Flags: which of flag, variable and file wins; durations, and what is said of what is none.
#include "runtime/flags.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <fstream>

#include "runtime/data_directory.hpp"

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

// A variable that is set as long as this lives.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Variable() { unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

// A store that has a place or is a temporary one, and what it is told.
struct Store {
  std::string place = "default";
  bool temporary = false;
  int number = 0;
  CLI::App app{"for a test", "program"};
  Store() {
    app.add_flag("--test-temporary", temporary)->excludes(app.add_option("--test-place", place));
    app.add_option("--test-number", number);
    app.set_config("--test-config");
    add_environment(app);
  }
  // What came out, or what is wrong.
  std::string parse(std::vector<const char*> typed) {
    typed.insert(typed.begin(), "program");
    try {
      parse_arguments(app, arguments_with_variables(app, static_cast<int>(typed.size()), typed.data()));
      return (temporary ? "temporary " : "lasting ") + place + " " + std::to_string(number);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
  }
};

}  // namespace

TEST_CASE("flags win over variables, and variables over the file", "[runtime][flags]") {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/test.toml";
  std::ofstream(file) << "test-number = 1\ntest-place = \"filed\"\n";
  CHECK(Store().parse({"--test-config", file.c_str()}) == "lasting filed 1");
  const Variable number("DMQ_TEST_NUMBER", "2");
  CHECK(Store().parse({}) == "lasting default 2");
  CHECK(Store().parse({"--test-config", file.c_str()}) == "lasting filed 2");
  CHECK(Store().parse({"--test-config", file.c_str(), "--test-number=3"}) == "lasting filed 3");
  const Variable config("DMQ_TEST_CONFIG", file.c_str());
  CHECK(Store().parse({"--test-number", "3"}) == "lasting filed 3");
}

TEST_CASE("a flag puts aside the variable of one that it excludes", "[runtime][flags]") {
  const Variable place("DMQ_TEST_PLACE", "exported");
  CHECK(Store().parse({}) == "lasting exported 0");
  CHECK(Store().parse({"--test-temporary"}) == "temporary default 0");
  CHECK(Store().parse({"--test-place", "typed"}) == "lasting typed 0");
  CHECK(Store().parse({"--test-temporary", "--test-place", "typed"}).find("excludes") != std::string::npos);
  const Variable temporary("DMQ_TEST_TEMPORARY", "1");
  CHECK(Store().parse({}).find("excludes") != std::string::npos);
  CHECK(Store().parse({"--test-place=typed"}) == "lasting typed 0");
}

TEST_CASE("a variable of a wrong value is refused like a flag", "[runtime][flags]") {
  const Variable number("DMQ_TEST_NUMBER", "many");
  CHECK(Store().parse({}).find("test-number") != std::string::npos);
}

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
