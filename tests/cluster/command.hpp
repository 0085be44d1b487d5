// A program that a test runs to its end: tools of the system, the operators' command.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace dmq::cluster {

struct Command {
  std::vector<std::string> arguments;  // the program first: a path, or a name in the system's directories
  int network = -1;                    // descriptor of a network namespace; -1: that of this process
  std::string output;                  // file that what it says is appended to; empty: our own output
  std::chrono::milliseconds patience{10'000};
};

// Its exit code; -1: it was killed, by us when it ran longer than `patience`, or could not be started.
int run_command(const Command& command);

}  // namespace dmq::cluster
