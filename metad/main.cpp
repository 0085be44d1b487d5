// dmq-metad: the catalog of a cluster as a process of its own.
#include <memory>
#include <optional>

#include "metad/daemon.hpp"
#include "metad/generation.hpp"
#include "runtime/clock.hpp"
#include "runtime/daemon.hpp"
#include "runtime/flags.hpp"

namespace {

using namespace dmq;

constexpr const char* kDescription =
    "dmq-metad keeps the catalog of a dmq cluster: which queues there are, which workers live, and which worker\n"
    "leads which partition. Workers and routers register with it and keep a copy of the catalog, so they go on\n"
    "serving known queues while it restarts. Start it first, one for each cluster.";

constexpr const char* kExamples =
    "Examples:\n"
    "  dmq-metad                                     a cluster on this machine\n"
    "  dmq-metad --data /var/lib/dmq/metad \\\n"
    "            --listen tcp://0.0.0.0:7312 --feed tcp://0.0.0.0:7314 \\\n"
    "            --advertise metad.example.org       workers and routers on other machines\n";

void add_flags(CLI::App& app, MetadOptions& options) {
  app.add_option("--data", options.data_dir, "Directory of the catalog; made when absent")->capture_default_str();
  app.add_option("--listen", options.listen, "Where workers and routers ask: tcp://HOST:PORT, port * for a free one")
      ->capture_default_str();
  app.add_option("--feed", options.feed, "Where they hear of changes (default: a free port of the same host)");
  app.add_option("--advertise", options.advertise,
                 "Host by which they reach the feed; needed when listening on 0.0.0.0");
  app.add_option("--partitions", options.partitions, "How many partitions a new cluster gets; never changes later")
      ->check(CLI::Range(1, int{kPartitionsMax}))
      ->capture_default_str();
  app.add_option("--replicas", options.replicas, "How many workers of a new cluster hold each partition; default 1")
      ->check(CLI::Range(1, int{kReplicationFactorMax}));
  app.add_option("--min-in-sync", options.min_in_sync,
                 "How many of them must have a message before it is confirmed; default 2 of 3 or more, else 1");
  add_duration(app, "--heartbeat", options.heartbeat, "How often members call");
  app.add_option("--missed-heartbeats", options.missed_heartbeats, "So many missed calls mean dead")
      ->capture_default_str();
  add_duration(app, "--handover-after", options.handover_after,
               "A preferred leader that is in sync for so long leads again");
  add_duration(app, "--replace-after", options.replace_after,
               "Replicas of a worker that is away for so long are made elsewhere");
}

Result<std::string> raise(const std::string& data_dir) {
  const auto generation = raise_generation(data_dir, wall_now());
  if (!generation) return tl::unexpected<Error>(generation.error());
  return "generation " + std::to_string(*generation);
}

Result<RunningService> open(zmq::context_t& context, MetadOptions options) {
  auto opened = MetadDaemon::open(context, std::move(options));
  if (!opened) return tl::unexpected<Error>(opened.error());
  const std::shared_ptr<MetadDaemon> daemon = std::move(*opened);
  return run_in_thread({.endpoint = daemon->endpoint(),
                        .run = [daemon] { daemon->run(); },
                        .stop = [daemon] { daemon->stop(); },
                        .failure = [daemon] { return daemon->failure(); }});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(kDescription, "dmq-metad");
  MetadOptions options;
  options.data_dir = "./dmq-data/metad";
  add_flags(app, options);
  bool is_restored = false;
  app.add_flag("--raise-generation", is_restored,
               "After the data was restored from a backup: make workers and routers take it, and exit");
  const auto check = [&options] { return check_options(options); };
  const auto serve = [&options](zmq::context_t& context) { return open(context, options); };
  const auto job = [&]() -> std::optional<Result<std::string>> {
    if (is_restored) return raise(options.data_dir);
    return std::nullopt;
  };
  return run_daemon(app, argc, argv, {kExamples, check, serve, job});
}
