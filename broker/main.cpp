// dmq-broker: the whole broker in one process.
#include <iostream>

#include "dmq/broker.hpp"
#include "protocol/limits.hpp"
#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/open_files.hpp"
#include "runtime/signals.hpp"
#include "runtime/standard_streams.hpp"

namespace {

struct Flags {
  dmq::DaemonFlags daemon;
  dmq::BrokerOptions broker;
  bool ephemeral = false;
  dmq::DurationMs producer_idle{3600 * 1000};
};

void add_flags(CLI::App& app, Flags& flags) {
  dmq::BrokerOptions& broker = flags.broker;
  broker.listen = "tcp://127.0.0.1:" + std::to_string(dmq::kDefaultPort);
  broker.admin = "tcp://127.0.0.1:" + std::to_string(dmq::kDefaultAdminPort);
  broker.data_dir = "./dmq-data";
  auto* data = app.add_option("--data", broker.data_dir, "Directory of the store")->capture_default_str();
  app.add_flag("--ephemeral", flags.ephemeral,
               "A temporary store, removed at the end; the administrators' port is a free one")
      ->excludes(data);
  app.add_option("--listen", broker.listen, "Endpoint for clients; a port * is chosen by the system")
      ->capture_default_str();
  app.add_option("--admin", broker.admin, "Endpoint for administrators, who may delete queues; '' for none")
      ->capture_default_str();
  app.add_option("--sync", broker.sync,
                 "When a confirmed message is on disk: commit (always), interval (within 1 s), none")
      ->check(CLI::IsMember({"commit", "interval", "none"}))
      ->capture_default_str();
  app.add_option("--workers", broker.workers, "Storage threads, each with its own files")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--partitions", broker.partitions, "Parts that queues are spread over; fixed at a store's first start")
      ->check(CLI::Range(1, static_cast<int>(dmq::kPartitionsMax)))
      ->capture_default_str();
  dmq::add_size(app, "--store-limit", broker.store_limit, dmq::kStoreBytesMax,
                "Sends are refused when a worker's messages take more than this");
  dmq::add_duration(app, "--producer-idle", flags.producer_idle, "Forget a silent producer's sequence after this time");
  app.add_flag("--auto-create,!--no-auto-create", broker.auto_create, "Create a queue on its first use (default: yes)");
  app.add_flag("--allow-delete", broker.allow_delete, "Let every client delete queues");
  dmq::add_daemon_flags(app, flags.daemon);
  dmq::add_environment(app);
  app.footer(
      "Examples:\n  dmq-broker                                    # port 7310, store in ./dmq-data\n"
      "  dmq-broker --data /var/lib/dmq --listen tcp://0.0.0.0:7310\n"
      "  dmq-broker --ephemeral --listen 'tcp://127.0.0.1:*'   # for a test: prints 'listening tcp://...'\n"
      "Each flag is also a variable (DMQ_DATA) and a key of the TOML file (data = \"...\").");
}

int run(const Flags& flags) {
  dmq::DaemonSignals signals;
  dmq::explain_bus_errors();
  dmq::Broker broker(flags.broker);
  std::cout << "listening " << broker.endpoint() << std::endl;
  spdlog::info("serving {} from {} with {} messages, sync={}", broker.endpoint(), broker.data_dir(),
               broker.messages_found(), flags.broker.sync);
  dmq::notify_service_manager("READY=1");
  signals.wait_for_end(broker.failure_fd());
  dmq::notify_service_manager("STOPPING=1");
  broker.stop();
  const std::string failure = broker.failure();
  if (failure.empty()) return dmq::kExitOk;
  std::cerr << "dmq-broker: " << failure << "\n";
  return dmq::kExitError;
}

}  // namespace

int main(int argc, char** argv) {
  dmq::hold_standard_streams();
  dmq::raise_open_files_limit();
  CLI::App app("dmq-broker: the whole dmq message queue in one process.");
  Flags flags;
  add_flags(app, flags);
  if (const auto code = dmq::parse_flags(app, argc, argv)) return *code;
  // To the class an empty directory means a temporary one, and --data "$UNSET" would lose every message at the end.
  if (!flags.ephemeral && flags.broker.data_dir.empty()) {
    std::cerr << "dmq-broker: --data is empty; name a directory, or say --ephemeral for a temporary store\n";
    return dmq::kExitUsage;
  }
  if (flags.ephemeral) {
    flags.broker.data_dir.clear();
    if (app.count("--admin") == 0) flags.broker.admin = "tcp://127.0.0.1:*";
  }
  flags.broker.producer_idle_ms = flags.producer_idle.value;
  if (auto logging = dmq::set_up_logging("dmq-broker", flags.daemon.log_level, flags.daemon.log_format); !logging) {
    std::cerr << "dmq-broker: " << logging.error().context << "\n";
    return dmq::kExitUsage;
  }
  if (flags.daemon.check_config) {
    std::cout << "ok\n";
    return dmq::kExitOk;
  }
  try {
    return run(flags);
  } catch (const std::exception& error) {
    std::cerr << "dmq-broker: " << error.what() << "\n";
    return dmq::kExitError;
  }
}
