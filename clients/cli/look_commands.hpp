// Commands that look at queues, and the one that empties them: dmq queue peek, browse, stats, purge.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "clients/cli/client_command.hpp"
#include "clients/cli/session.hpp"

namespace dmq::cli {

struct LookFlags {
  const BrokerFlags& broker;
  const bool& json;
  const int interrupt_fd;
  std::string queue;
  std::vector<std::string> queues;
  std::string state = "ready";
  std::string after;
  std::string admin;
  std::uint64_t max = 0;         // 0: as the command does
  std::int64_t body_bytes = -1;  // below 0: as the command does
  bool yes = false;
  int exit_code = kExitOk;  // of a command that came to its end
};

// Adds them below `queue`; the one that was given is in `action` after parsing. All arguments outlive it.
void add_look_commands(CLI::App& queue, LookFlags& flags, ClientAction& action);

}  // namespace dmq::cli
