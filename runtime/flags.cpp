// CLI11 with the units and names of dmq.
#include "runtime/flags.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>

namespace dmq {

namespace {

// A duration as it would be typed: "1h", "30s", "1500ms".
std::string duration_text(DurationMs value) {
  struct Unit {
    std::int64_t ms;
    const char* name;
  };
  for (const Unit& unit : {Unit{3'600'000, "h"}, Unit{60'000, "m"}, Unit{1000, "s"}}) {
    if (value.value >= unit.ms && value.value % unit.ms == 0) return std::to_string(value.value / unit.ms) + unit.name;
  }
  return std::to_string(value.value) + (value.value == 0 ? "s" : "ms");
}

// Is the option on the command line, by one of its long names?
bool is_typed(const CLI::Option& option, const std::vector<std::string>& typed) {
  const auto& names = option.get_lnames();
  return std::any_of(typed.begin(), typed.end(), [&](const std::string& argument) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return argument.starts_with("--" + name) &&
             (argument.size() == name.size() + 2 || argument[name.size() + 2] == '=');
    });
  });
}

}  // namespace

CLI::Option* add_duration(CLI::App& app, const std::string& name, DurationMs& value, const std::string& text) {
  static const std::map<std::string, double> kUnits{{"ms", 1},     {"s", 1e3},    {"m", 60e3},
                                                    {"min", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
  const auto parse = [&value, name](const CLI::results_t& results) {
    const std::string& given = results.front();
    const auto refuse = [&]() -> bool {
      throw CLI::ValidationError(
          name, "'" + given + "' is no duration: write 500ms, 5s, 2m, 1h or 1d; a bare number is in seconds");
    };
    const auto unit = std::find_if(given.begin(), given.end(), [](unsigned char c) { return std::isalpha(c) != 0; });
    const std::string number(given.begin(), unit);
    const auto factor = unit == given.end() ? kUnits.find("s") : kUnits.find(std::string(unit, given.end()));
    std::size_t used = 0;
    double count = 0;
    try {
      count = std::stod(number, &used);
    } catch (const std::exception&) {
      return refuse();
    }
    if (used != number.size() || factor == kUnits.end() || !(count >= 0) || count > 1e15) return refuse();
    const double scaled = count * factor->second;
    if (!(scaled < 9e15)) return refuse();
    value = DurationMs{std::llround(scaled)};
    return true;
  };
  return app.add_option(name, parse, text + " (a bare number is in seconds)")
      ->type_name("DURATION")
      ->default_str(duration_text(value));
}

CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& value, std::uint64_t most,
                      const std::string& text, std::uint64_t least) {
  // After the transformation, which takes "-1" for 2^64 - 1.
  const auto in_range = [least, most](const std::string& bytes) {
    const std::uint64_t count = std::strtoull(bytes.c_str(), nullptr, 10);
    return count >= least && count <= most
               ? std::string()
               : "must be from " + std::to_string(least) + " to " + std::to_string(most) + " bytes";
  };
  return app.add_option(name, value, text)
      ->transform(CLI::AsSizeValue(false))
      ->check(in_range)
      ->type_name("SIZE")
      ->capture_default_str();
}

void add_daemon_flags(CLI::App& app, DaemonFlags& flags) {
  // Nothing silent: neither a key that is misspelt nor a file that is not there.
  app.set_config("--config", "", "Read flags from a TOML file (long names without dashes as keys)")
      ->check(CLI::ExistingFile);
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_option("--log-level", flags.log_level, "trace, debug, info, warn, error or off")->capture_default_str();
  app.add_option("--log-format", flags.log_format, "logfmt or json")->capture_default_str();
  app.add_flag("--check-config", flags.check_config, "Check flags, variables and file, say 'ok' and exit");
  app.set_version_flag("--version", "0.1.0");
}

void add_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const auto& names = option->get_lnames();
    if (names.empty() || names.front() == "help" || names.front() == "version") continue;
    std::string variable = "DMQ_" + names.front();
    std::transform(variable.begin(), variable.end(), variable.begin(),
                   [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    option->envname(variable);
  }
}

std::vector<std::string> arguments_with_variables(CLI::App& app, int argc, const char* const* argv) {
  const std::vector<std::string> typed(argv + 1, argv + argc);
  std::vector<std::string> all;
  for (CLI::Option* option : app.get_options()) {
    const char* value = option->get_envname().empty() ? nullptr : std::getenv(option->get_envname().c_str());
    if (value == nullptr || *value == '\0' || is_typed(*option, typed)) continue;
    const auto excluded = option->get_excludes();
    if (std::any_of(excluded.begin(), excluded.end(), [&](const auto* other) { return is_typed(*other, typed); })) {
      option->envname("");  // CLI11 would look itself
      continue;
    }
    all.push_back("--" + option->get_lnames().front() + "=" + value);
  }
  all.insert(all.end(), typed.begin(), typed.end());
  return all;
}

void parse_arguments(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the end
  app.parse(std::move(arguments));
}

std::optional<int> parse_flags(CLI::App& app, int argc, char** argv) {
  try {
    parse_arguments(app, arguments_with_variables(app, argc, argv));
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error, std::cout, std::cerr);
    return code == 0 ? kExitOk : kExitUsage;
  }
}

}  // namespace dmq
