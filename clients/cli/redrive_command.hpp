// dmq queue redrive: dead messages are handed out again, dead letters go back to where they came from.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "dmq/client.hpp"

namespace dmq::cli {

struct RedriveFlags {
  const bool& json;
  const int interrupt_fd;
  std::string queue;
  std::vector<std::string> ids;
  double rate = 0;        // messages a second; 0: as fast as it goes
  std::uint64_t max = 0;  // messages; 0: all
};

void add_redrive_options(CLI::App& command, RedriveFlags& flags);
// Goes on until all is done, with progress on a terminal. What is done stays done when it is interrupted, and the same
// command goes on with the rest.
void redrive(const RedriveFlags& flags, Client& client);

}  // namespace dmq::cli
