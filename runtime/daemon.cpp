// See daemon.hpp.
#include "runtime/daemon.hpp"

#include <csignal>
#include <iostream>
#include <memory>
#include <thread>

#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/open_files.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_streams.hpp"
#include "runtime/wakeup.hpp"

namespace dmq {
namespace {

constexpr const char* kFooter =
    "\n"
    "Every flag is also a variable (--log-level is DMQ_LOG_LEVEL) and a key of the TOML file given with --config\n"
    "(log-level = \"debug\"). The first line on standard output is 'listening ENDPOINT'; the log is on standard "
    "error.\n"
    "SIGTERM and SIGINT end it when what was taken is answered.\n"
    "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage.";

int fail_with(const CLI::App& app, const Error& error, ExitCode code) {
  std::cerr << app.get_name() << ": " << error.context << std::endl;
  return code;
}

void wait_for_end(DaemonSignals& signals, int failed_fd) {
  for (;;) {
    const int signal = signals.wait(failed_fd);
    if (signal == 0 || signal == SIGTERM || signal == SIGINT) return;
    spdlog::info("signal {}: nothing to reload or to drain", signal);
  }
}

int serve(const CLI::App& app, DaemonSignals& signals, const RunningService& service) {
  std::cout << "listening " << service.endpoint << std::endl;
  notify_service_manager("READY=1");
  wait_for_end(signals, service.failed_fd);
  notify_service_manager("STOPPING=1");
  const auto ended = service.end();
  return ended ? static_cast<int>(kExitOk) : fail_with(app, ended.error(), kExitError);
}

}  // namespace

RunningService run_in_thread(Loop loop) {
  struct State {
    Loop loop;
    Wakeup ended;
    std::thread thread;
  };
  const auto state = std::make_shared<State>();
  state->loop = std::move(loop);
  state->thread = std::thread([raw = state.get()] {
    raw->loop.run();
    raw->ended.raise();
  });
  const auto end = [state] {
    state->loop.stop();
    state->thread.join();
    return state->loop.failure();
  };
  return {state->loop.endpoint, state->ended.fd(), end};
}

int run_daemon(CLI::App& app, int argc, char** argv, const DaemonProgram& program) {
  hold_standard_streams();
  raise_open_files_limit();
  DaemonSignals signals;
  DaemonFlags flags;
  add_daemon_flags(app, flags);
  add_environment(app);
  app.footer(program.examples + kFooter);
  if (const auto code = parse_flags(app, argc, argv)) return *code;
  auto good = set_up_logging(app.get_name(), flags.log_level, flags.log_format);
  if (good) good = program.check();
  if (!good) return fail_with(app, good.error(), kExitUsage);
  if (flags.check_config) {
    std::cout << "ok\n";
    return kExitOk;
  }
  explain_bus_errors();
  zmq::context_t context;
  const auto service = program.open(context);
  return service ? serve(app, signals, *service) : fail_with(app, service.error(), kExitError);
}

}  // namespace dmq
