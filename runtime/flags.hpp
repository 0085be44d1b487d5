// Flags in the way of all dmq programs: units, DMQ_* variables, a TOML file, --check-config.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "protocol/ids.hpp"

namespace dmq {

// Exit codes of every program (docs/operations.md).
enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,
  kExitUsage = 2,
  kExitNothing = 3,
  kExitUnreachable = 4,
  kExitDenied = 5,
  kExitNoQueue = 6,
  kExitPartly = 7,
};

// "500ms", "5s", "2m", "1h"; a bare number is in seconds.
CLI::Option* add_duration(CLI::App& app, const std::string& name, DurationMs& value, const std::string& text);
// "100", "16KiB", "4MiB", "10GiB"; kB, MB, GB mean the same powers of 1,024. From 1 byte to `most`.
CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& value, std::uint64_t most,
                      const std::string& text, std::uint64_t least = 1);

// Flags of every daemon.
struct DaemonFlags {
  std::string log_level = "info";
  std::string log_format = "logfmt";
  bool check_config = false;
};
void add_daemon_flags(CLI::App& app, DaemonFlags& flags);

// Gives each long flag its variable: --store-limit is DMQ_STORE_LIMIT. Call it after all flags are added.
void add_environment(CLI::App& app);

// What was typed, behind the variables that count: those of options that were not typed and exclude none that was.
// CLI11 by itself would let the TOML file win over variables, and an exported variable conflict with a flag.
std::vector<std::string> arguments_with_variables(CLI::App& app, int argc, const char* const* argv);
// Parses; may be called again. Throws CLI::ParseError.
void parse_arguments(CLI::App& app, std::vector<std::string> arguments);

// Parses; a value when the program should end now: --help, --version, a usage error (2), --check-config (0).
// Flags win over variables, variables over the TOML file, the file over defaults.
std::optional<int> parse_flags(CLI::App& app, int argc, char** argv);

}  // namespace dmq
