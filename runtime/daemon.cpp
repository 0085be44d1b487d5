// See daemon.hpp.
#include "runtime/daemon.hpp"

#include <algorithm>
#include <csignal>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

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
    "Signals: SIGTERM, SIGINT and SIGUSR1 end it once what was taken is answered; SIGHUP reads the file of --config\n"
    "again, of which log-level counts at once and all else at the next start.\n"
    "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage.";

int fail_with(const CLI::App& app, const Error& error, ExitCode code) {
  std::cerr << app.get_name() << ": " << error.context << std::endl;
  return code;
}

// What each flag was given, by the flag, the variable or the file that won.
std::map<std::string, std::vector<std::string>> values_of(const CLI::App& app) {
  std::map<std::string, std::vector<std::string>> values;
  for (const CLI::Option* option : app.get_options()) values[option->get_name()] = option->results();
  return values;
}

// Of what changed, only the log's level counts at once.
void log_what_waits(const CLI::App& app, std::map<std::string, std::vector<std::string>> before) {
  std::string waiting;
  for (const auto& [name, values] : values_of(app)) {
    if (name != "--log-level" && values != before[name]) waiting += (waiting.empty() ? "" : ", ") + name;
  }
  if (!waiting.empty()) spdlog::warn("changed, and counts at the next start only: {}", waiting);
}

void change_log_level(spdlog::level::level_enum level) {
  const auto before = spdlog::default_logger()->level();
  spdlog::default_logger()->set_level(std::min({before, level, spdlog::level::info}));  // so that it is heard
  spdlog::info("read the configuration again: the log level is {}, it was {}", spdlog::level::to_string_view(level),
               spdlog::level::to_string_view(before));
  spdlog::default_logger()->set_level(level);
}

// SIGHUP. A file that is wrong changes nothing.
void reload(CLI::App& app, DaemonFlags& flags, const std::vector<std::string>& arguments) {
  if (app.get_config_ptr()->count() == 0) {
    spdlog::warn("nothing to reload: no file was given with --config");
    return;
  }
  const auto before = values_of(app);
  const DaemonFlags running = std::exchange(flags, DaemonFlags{});
  try {
    parse_arguments(app, arguments);
    const auto level = log_level_from_name(flags.log_level);
    if (!level) throw CLI::ValidationError("--log-level", level.error().context);
    change_log_level(*level);
    log_what_waits(app, before);
  } catch (const CLI::ParseError& error) {
    flags = running;
    spdlog::error("the configuration is wrong and all stays as it was: {}", error.what());
  }
}

void wait_for_end(DaemonSignals& signals, int failed_fd, const std::function<void()>& on_hangup) {
  for (;;) {
    const int signal = signals.wait(failed_fd);
    if (signal == SIGHUP) {
      notify_service_manager("RELOADING=1");
      on_hangup();
      notify_service_manager("READY=1");
      continue;
    }
    if (signal != 0) spdlog::info("{}: finishing what was taken, then the end", strsignal(signal));
    return;
  }
}

int serve(const CLI::App& app, DaemonSignals& signals, const RunningService& service,
          const std::function<void()>& on_hangup) {
  std::cout << "listening " << service.endpoint << std::endl;
  notify_service_manager("READY=1");
  wait_for_end(signals, service.failed_fd, on_hangup);
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
  if (const auto done = program.job()) {
    if (!*done) return fail_with(app, done->error(), kExitError);
    std::cout << **done << std::endl;
    return kExitOk;
  }
  explain_bus_errors();
  zmq::context_t context;
  const auto service = program.open(context);
  if (!service) return fail_with(app, service.error(), kExitError);
  return serve(app, signals, *service, [&] { reload(app, flags, arguments_with_variables(app, argc, argv)); });
}

}  // namespace dmq
