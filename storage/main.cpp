// dmq-storage: a storage worker as a process of its own.
#include <iostream>
#include <thread>

#include "protocol/limits.hpp"
#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/open_files.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_streams.hpp"
#include "storage/worker.hpp"

namespace {

struct Flags {
  dmq::DaemonFlags daemon;
  dmq::WorkerOptions worker;
  std::string sync = "commit";
};

void add_flags(CLI::App& app, Flags& flags) {
  app.add_option("--data", flags.worker.data_dir, "Directory of the store")->default_val("./dmq-data/storage");
  app.add_option("--listen", flags.worker.listen, "Endpoint for routers; a port * is chosen by the system")
      ->capture_default_str();
  app.add_option("--advertise", flags.worker.advertise,
                 "Endpoint that routers connect to, when it is not the one of --listen");
  app.add_option("--metad", flags.worker.metad, "Endpoint of dmq-metad")->capture_default_str();
  app.add_option("--name", flags.worker.name, "Lasting name of this worker (default: made from its store)");
  app.add_option("--sync", flags.sync,
                 "When a confirmed message is on disk: commit (always), interval (within 1 s), none")
      ->check(CLI::IsMember({"commit", "interval", "none"}))
      ->capture_default_str();
  dmq::add_size(app, "--store-limit", flags.worker.limits.store_bytes, dmq::kStoreBytesMax,
                "Sends are refused when messages take more than this");
  dmq::add_duration(app, "--producer-idle", flags.worker.limits.producer_idle,
                    "Forget a silent producer's sequence after this time");
  dmq::add_daemon_flags(app, flags.daemon);
  dmq::add_environment(app);
  app.footer(
      "Examples:\n  dmq-storage --data /var/lib/dmq/1 --metad tcp://10.0.0.1:7312 --listen tcp://10.0.0.2:7320\n"
      "Each flag is also a variable (DMQ_DATA) and a key of the TOML file (data = \"...\").");
}

}  // namespace

int main(int argc, char** argv) {
  dmq::hold_standard_streams();
  dmq::raise_open_files_limit();
  CLI::App app("dmq-storage: keeps the messages of its partitions in LMDB and serves routers.");
  Flags flags;
  add_flags(app, flags);
  if (const auto code = dmq::parse_flags(app, argc, argv)) return *code;
  if (auto logging = dmq::set_up_logging("dmq-storage", flags.daemon.log_level, flags.daemon.log_format); !logging) {
    std::cerr << "dmq-storage: " << logging.error().context << "\n";
    return dmq::kExitUsage;
  }
  flags.worker.sync = *dmq::sync_from_name(flags.sync);
  if (flags.daemon.check_config) {
    std::cout << "ok\n";
    return dmq::kExitOk;
  }
  dmq::DaemonSignals signals;
  dmq::explain_bus_errors();
  zmq::context_t context;
  auto worker = dmq::Worker::open(context, flags.worker);
  if (!worker) {
    std::cerr << "dmq-storage: " << worker.error().context << "\n";
    return dmq::kExitError;
  }
  dmq::Wakeup ended;
  dmq::Reactor reactor;
  reactor.add(**worker);
  std::thread loop([&] {
    reactor.run();
    ended.raise();
  });
  std::cout << "listening " << (*worker)->endpoint() << std::endl;
  dmq::notify_service_manager("READY=1");
  signals.wait_for_end(ended.fd());
  dmq::notify_service_manager("STOPPING=1");
  reactor.stop();
  loop.join();
  return (*worker)->failure() ? dmq::kExitOk : dmq::kExitError;
}
