// What the command-line programs share: how they reach a broker, and how they say that something failed.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

#include "dmq/client.hpp"
#include "runtime/flags.hpp"

namespace dmq::cli {

struct BrokerFlags {
  std::string broker = "tcp://127.0.0.1:7310";  // one or several endpoints, by comma
  DurationMs timeout{5'000};                    // for each request
};

// --broker (DMQ_ENDPOINT), --timeout (DMQ_TIMEOUT), --version.
void add_broker_flags(CLI::App& app, BrokerFlags& flags);

// `interrupt_fd`: see ClientOptions.
ClientOptions client_options(const BrokerFlags& flags, int interrupt_fd = -1);

// Several endpoints by comma, as a list.
std::vector<std::string> split_endpoints(std::string_view text);

// The whole of main: runs `run` and says what it throws as report() does. Returns the exit code.
int run_command(const char* program, int (*run)(int argc, char** argv), int argc, char** argv);

// The argument QUEUE; an empty name, which a shell makes of a variable that is not set, is refused before a broker is
// asked.
void add_queue_argument(CLI::App& app, std::string& queue, const std::string& text);

// Says on standard error what failed and what to try; returns the exit code for it.
int report(std::string_view program, const Failure& failure);
int exit_code_for(const Failure& failure);
// The same for a result that could not be written.
int report_output_gone(std::string_view program);

// Is the descriptor a terminal? And may it be coloured (no NO_COLOR)?
bool is_terminal(int fd);
bool is_coloured(int fd);

// "1,234,567".
std::string grouped(std::uint64_t number);
// "1 message", "2 messages".
std::string counted(std::uint64_t number, std::string_view noun);

}  // namespace dmq::cli
