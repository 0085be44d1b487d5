// dmq backup and dmq restore: copies of a data directory, made by dmq-broker, which knows what is in it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace dmq::cli {

struct BackupFlags {
  const int interrupt_fd;
  std::string from{};
  std::string to{};
  bool quiet = false;
  int exit_code = 0;  // of the program that did it
};

// Adds them to `app`; the one that was given is in `action` after parsing. All arguments outlive it.
void add_backup_commands(CLI::App& app, BackupFlags& flags, std::function<void()>& action);

}  // namespace dmq::cli
