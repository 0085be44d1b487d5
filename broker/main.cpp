// dmq-broker: the whole broker in one process.
#include <memory>
#include <optional>

#include "broker/backup.hpp"
#include "dmq/broker.hpp"
#include "protocol/limits.hpp"
#include "runtime/clock.hpp"
#include "runtime/daemon.hpp"
#include "runtime/endpoint.hpp"
#include "runtime/flags.hpp"
#include "runtime/logging.hpp"
#include "runtime/signals.hpp"

namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  dmq-broker                                    # port 7310, store in ./dmq-data\n"
    "  dmq-broker --data /var/lib/dmq --listen tcp://0.0.0.0:7310\n"
    "  dmq-broker --ephemeral --listen 'tcp://127.0.0.1:*'   # for a test: prints 'listening tcp://...'\n";

struct Flags {
  dmq::BrokerOptions broker;
  bool ephemeral = false;
  std::string backup_to;
  std::string restore_from;
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
  app.add_option("--admin", broker.admin,
                 "Endpoint for administrators, who may delete queues: loopback or ipc; '' for none")
      ->capture_default_str();
  app.add_option("--sync", broker.sync,
                 "When a confirmed message is on disk: commit (always), interval (within 1 s), none")
      ->check(CLI::IsMember({"commit", "interval", "none"}))
      ->capture_default_str();
  app.add_option("--workers", broker.workers, "Storage threads, each with its own files")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--replicas", broker.replicas,
                 "How many workers keep each message, for tests of programs; fixed at a store's first start")
      ->check(CLI::Range(1, 7))
      ->capture_default_str();
  app.add_option("--partitions", broker.partitions, "Parts that queues are spread over; fixed at a store's first start")
      ->check(CLI::Range(1, static_cast<int>(dmq::kPartitionsMax)))
      ->capture_default_str();
  dmq::add_size(app, "--store-limit", broker.store_limit, dmq::kStoreBytesMax,
                "Sends are refused when a worker's messages take more than this");
  dmq::add_duration(app, "--producer-idle", flags.producer_idle, "Forget a silent producer's sequence after this time");
  app.add_flag("--accept-damage", broker.accept_damage, "Serve what can be read of a damaged store");
  app.add_flag("--auto-create,!--no-auto-create", broker.auto_create, "Create a queue on its first use (default: yes)");
  app.add_flag("--allow-delete", broker.allow_delete, "Let every client delete queues");
  auto* backup = app.add_option("--backup-to", flags.backup_to,
                                "Copy what is in --data, also while a broker, worker or metad uses it, to this new "
                                "directory, and exit (dmq backup)");
  app.add_option("--restore-from", flags.restore_from,
                 "Make --data, a new directory, of this backup, and exit (dmq restore)")
      ->excludes(backup);
}

// The flags as the class takes them, once they are known to be good.
dmq::Result<void> check(const CLI::App& app, Flags& flags) {
  // To the class an empty directory means a temporary one, and --data "$UNSET" would lose every message at the end.
  if (!flags.ephemeral && flags.broker.data_dir.empty()) {
    return dmq::fail(dmq::Errc::kInvalidArgument,
                     "--data is empty; name a directory, or say --ephemeral for a temporary store");
  }
  if (flags.ephemeral) {
    flags.broker.data_dir.clear();
    if (app.count("--admin") == 0) flags.broker.admin = "tcp://127.0.0.1:*";
  }
  flags.broker.producer_idle_ms = flags.producer_idle.value;
  auto good = dmq::check_endpoint("--listen", flags.broker.listen, dmq::EndpointUse::kListen);
  if (!good || flags.broker.admin.empty()) return good;
  return dmq::check_endpoint("--admin", flags.broker.admin, dmq::EndpointUse::kAdmin);
}

std::optional<dmq::Result<std::string>> copy(const Flags& flags) {
  if (flags.backup_to.empty() && flags.restore_from.empty()) return std::nullopt;
  dmq::end_by_signals();
  dmq::explain_bus_errors();
  if (!flags.backup_to.empty()) return dmq::back_up(flags.broker.data_dir, flags.backup_to);
  return dmq::restore(flags.restore_from, flags.broker.data_dir, dmq::wall_now());
}

dmq::Result<dmq::RunningService> open(const dmq::BrokerOptions& options) {
  try {
    const auto broker = std::make_shared<dmq::Broker>(options);
    spdlog::info("serving {} from {} with {} messages, sync={}", broker->endpoint(), broker->data_dir(),
                 broker->messages_found(), options.sync);
    const auto end = [broker]() -> dmq::Result<void> {
      broker->stop();
      const std::string failure = broker->failure();
      if (!failure.empty()) return dmq::fail(dmq::Errc::kInternal, failure);
      return {};
    };
    return dmq::RunningService{broker->endpoint(), broker->failure_fd(), end};
  } catch (const std::exception& error) {
    return dmq::fail(dmq::Errc::kUnavailable, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("dmq-broker is the whole dmq message queue in one process.", "dmq-broker");
  Flags flags;
  add_flags(app, flags);
  const auto check_flags = [&] { return check(app, flags); };
  const auto serve = [&flags](zmq::context_t&) { return open(flags.broker); };
  const auto job = [&flags] { return copy(flags); };
  return dmq::run_daemon(app, argc, argv, {kExamples, check_flags, serve, job});
}
