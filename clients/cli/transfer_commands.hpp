// dmq export and dmq import: queues, their settings and messages as lines of JSON or as MessagePack.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "clients/cli/client_command.hpp"
#include "clients/cli/session.hpp"

namespace dmq::cli {

struct TransferFlags {
  const BrokerFlags& broker;
  const int interrupt_fd;
  std::vector<std::string> queues;  // to export; empty: all
  std::string format = "json";      // of an export
  std::string file;                 // to import; empty: standard input
  std::string to;                   // the queue that takes all messages; empty: those of the file
  bool skip_dead = false;
  bool quiet = false;
};

// Adds them to `app`; the one that was given is in `action` after parsing. All arguments outlive it.
void add_transfer_commands(CLI::App& app, TransferFlags& flags, ClientAction& action);

}  // namespace dmq::cli
