// The operators' commands: dmq cluster status, members, partitions, drain, fence, move, force-leader, set.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "clients/cli/metad_session.hpp"

namespace dmq::cli {

struct ClusterFlags {
  std::string metad = "tcp://127.0.0.1:7312";
  std::string worker;
  std::vector<std::string> workers;
  std::uint16_t partition = 0;
  std::uint8_t replicas = 0;     // 0: as it is
  std::uint8_t min_in_sync = 0;  // likewise
  bool undo = false;
  bool wait = false;
  bool anywhere = false;
  bool accept_loss = false;
};

// Throws ClientError.
using ClusterAction = std::function<void(MetadSession&)>;

// Adds `cluster` with its subcommands; the one that was given is in `action` after parsing. All arguments outlive it.
void add_cluster_commands(CLI::App& app, ClusterFlags& flags, const bool& json, ClusterAction& action);

}  // namespace dmq::cli
