// The life of a daemon, the same for all: streams, flags, log, checks, "listening", signals, the end, the exit code.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <optional>
#include <string>
#include <zmq.hpp>

#include "protocol/error.hpp"

namespace dmq {

// What serves, in threads of its own.
struct RunningService {
  std::string endpoint;               // where clients reach it
  int failed_fd = -1;                 // readable once it cannot go on; -1: never
  std::function<Result<void>()> end;  // finishes what was taken; tells why it could not go on, if so
};

// A loop as its owner drives it: `run` returns after `stop`, or by itself when it cannot go on; then `failure` tells
// why. The functions own what they need.
struct Loop {
  std::string endpoint;
  std::function<void()> run;
  std::function<void()> stop;  // from any thread, also before run()
  std::function<Result<void>()> failure = [] { return Result<void>(); };
};
RunningService run_in_thread(Loop loop);

// What tells one daemon from another. The functions are called once at the most, and never for --help and the like.
struct DaemonProgram {
  std::string examples;  // for --help, before what it says of all daemons
  // Are the flags as they should be? Touches neither disk nor network. An error is a wrong usage.
  std::function<Result<void>()> check;
  // Starts to serve. The context outlives what it returns. An error ends the program with code 1.
  std::function<Result<RunningService>(zmq::context_t&)> open;
  // Done instead of serving when the flags ask for it, after `check`: a line for standard output, or an error (code 1).
  std::function<std::optional<Result<std::string>>()> job = [] { return std::optional<Result<std::string>>(); };
};

// The whole of main: `app` has a name and the program's own flags; those of all daemons are added here. Returns the
// exit code (docs/operations.md).
int run_daemon(CLI::App& app, int argc, char** argv, const DaemonProgram& program);

}  // namespace dmq
