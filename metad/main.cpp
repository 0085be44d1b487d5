// dmq-metad: flags, signals, and the daemon in a thread.
#include <csignal>
#include <iostream>
#include <thread>

#include "metad/daemon.hpp"
#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/open_files.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_streams.hpp"

namespace {

using namespace dmq;

constexpr const char* kDescription =
    "dmq-metad keeps the catalog of a dmq cluster: which queues there are, which workers live, and which worker\n"
    "leads which partition. Workers and routers register with it and keep a copy of the catalog, so they go on\n"
    "serving known queues while it restarts. Start it first, one for each cluster.";

constexpr const char* kFooter =
    "Examples:\n"
    "  dmq-metad                                     a cluster on this machine\n"
    "  dmq-metad --data /var/lib/dmq/metad \\\n"
    "            --listen tcp://0.0.0.0:7312 --feed tcp://0.0.0.0:7314 \\\n"
    "            --advertise metad.example.org       workers and routers on other machines\n"
    "\n"
    "Every flag is also a variable (--log-level is DMQ_LOG_LEVEL) and a key of the file given with --config.\n"
    "The first line on standard output tells where it listens. SIGTERM and SIGINT end it.\n"
    "Exit codes: 0 ended by a signal, 1 failed, 2 wrong usage.";

struct Flags {
  MetadOptions options;
  DaemonFlags daemon;
};

void add_flags(CLI::App& app, Flags& flags) {
  MetadOptions& options = flags.options;
  app.add_option("--data", options.data_dir, "Directory of the catalog; made when absent")->capture_default_str();
  app.add_option("--listen", options.listen, "Where workers and routers ask: tcp://HOST:PORT, port * for a free one")
      ->capture_default_str();
  app.add_option("--feed", options.feed, "Where they hear of changes (default: a free port of the same host)");
  app.add_option("--advertise", options.advertise,
                 "Host by which they reach the feed; needed when listening on 0.0.0.0");
  app.add_option("--partitions", options.partitions, "How many partitions a new cluster gets; never changes later")
      ->check(CLI::Range(1, int{kPartitionsMax}))
      ->capture_default_str();
  add_duration(app, "--heartbeat", options.heartbeat, "How often members call; 3 missed calls mean dead");
  add_daemon_flags(app, flags.daemon);
  add_environment(app);
  app.footer(kFooter);
}

int fail_with(const Error& error) {
  std::cerr << "dmq-metad: " << error.context << '\n';
  return kExitError;
}

int serve(MetadDaemon& daemon, DaemonSignals& signals) {
  Wakeup ended;
  std::thread thread([&] {
    daemon.run();
    ended.raise();
  });
  std::cout << "listening " << daemon.endpoint() << std::endl;
  notify_service_manager("READY=1");
  for (;;) {
    const int signal = signals.wait(ended.fd());
    if (signal == 0 || signal == SIGTERM || signal == SIGINT) break;
    spdlog::info("signal {}: nothing to reload or to drain", signal);
  }
  notify_service_manager("STOPPING=1");
  daemon.stop();
  thread.join();
  if (const auto failure = daemon.failure(); !failure) return fail_with(failure.error());
  return kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  hold_standard_streams();
  raise_open_files_limit();
  CLI::App app(kDescription, "dmq-metad");
  Flags flags;
  flags.options.data_dir = "./dmq-data/metad";
  add_flags(app, flags);
  if (const auto exit = parse_flags(app, argc, argv)) return *exit;
  if (auto logging = set_up_logging("dmq-metad", flags.daemon.log_level, flags.daemon.log_format); !logging) {
    std::cerr << "dmq-metad: " << logging.error().context << '\n';
    return kExitUsage;
  }
  if (auto good = check_options(flags.options); !good) {
    std::cerr << "dmq-metad: " << good.error().context << '\n';
    return kExitUsage;
  }
  if (flags.daemon.check_config) {
    std::cout << "ok\n";
    return kExitOk;
  }
  DaemonSignals signals;
  explain_bus_errors();
  zmq::context_t context;
  auto daemon = MetadDaemon::open(context, flags.options);
  return daemon ? serve(**daemon, signals) : fail_with(daemon.error());
}
