// dmq top: a live view of queues, the busy ones first.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "clients/cli/session.hpp"
#include "dmq/value.hpp"

namespace dmq::cli {

struct TopFlags {
  const int interrupt_fd;
  std::string prefix;
  std::string sort = "rate";
  DurationMs interval{2'000};
  std::uint64_t max = 0;  // rows; 0: as many as the terminal has, or all
  bool once = false;
};

void add_top_options(CLI::App& command, TopFlags& flags);

// On a terminal until q or Ctrl-C; in a pipe a line of JSON for each queue, again and again. Throws ClientError.
void run_top(const TopFlags& flags, bool json, Client& client);

// Of with_rates(): "rate": what moves most, "ready", "oldest": the longest wait, "name". The next by name.
void sort_stats(std::vector<Value>& stats, const std::string& by);
// The line above the table.
std::string top_line(const std::vector<Value>& stats);

}  // namespace dmq::cli
