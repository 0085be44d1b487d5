// dmq-storage: a storage worker as a process of its own.
#include <memory>

#include "protocol/limits.hpp"
#include "runtime/daemon.hpp"
#include "runtime/endpoint.hpp"
#include "runtime/flags.hpp"
#include "runtime/sockets.hpp"
#include "storage/worker.hpp"

namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  dmq-storage --data /var/lib/dmq/1 --metad tcp://10.0.0.1:7312 --listen tcp://10.0.0.2:7320\n";

struct Flags {
  dmq::WorkerOptions worker;
  std::string sync = "commit";
  bool accept_damage = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  app.add_option("--data", flags.worker.data_dir, "Directory of the store")->default_val("./dmq-data/storage");
  app.add_option("--listen", flags.worker.listen, "Endpoint for routers; a port * is chosen by the system")
      ->capture_default_str();
  app.add_option("--advertise", flags.worker.advertise,
                 "Endpoint that routers connect to (default: the one of --listen); needed when listening on 0.0.0.0");
  app.add_option("--log-listen", flags.worker.peers.log_listen,
                 "Endpoint from which other workers copy its log (default: a free port of the host in --listen)");
  app.add_option("--peer-listen", flags.worker.peers.peer_listen,
                 "Endpoint where they acknowledge what they have (default: likewise)");
  app.add_option("--log-backlog", flags.worker.peers.publish_max,
                 "Turns that wait for a slow follower; it fetches what is dropped beyond")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--zone", flags.worker.zone,
                 "What fails together with this worker (a rack, a room): copies go elsewhere");
  app.add_option("--metad", flags.worker.metad, "Endpoint of dmq-metad")->capture_default_str();
  app.add_option("--name", flags.worker.name, "Lasting name of this worker (default: made from its store)");
  app.add_option("--sync", flags.sync,
                 "When a confirmed message is on disk: commit (always), interval (within 1 s), none")
      ->check(CLI::IsMember({"commit", "interval", "none"}))
      ->capture_default_str();
  dmq::add_size(app, "--store-limit", flags.worker.limits.store_bytes, dmq::kStoreBytesMax,
                "Sends are refused when messages take more than this");
  dmq::add_size(app, "--scrub-rate", flags.worker.limits.scrub_bytes_per_s, dmq::kStoreBytesMax,
                "Bytes a second that are read to find damaged records; 0: none", 0);
  app.add_flag("--restored", flags.worker.restored,
               "The store comes from a backup: compare its copies with those of other workers before they count");
  app.add_flag("--accept-damage", flags.accept_damage,
               "Serve what can be read of a damaged store, instead of setting it aside and beginning an empty one");
  dmq::add_duration(app, "--producer-idle", flags.worker.limits.producer_idle,
                    "Forget a silent producer's sequence after this time");
}

dmq::Result<void> check(const dmq::WorkerOptions& options) {
  if (options.data_dir.empty()) {
    return dmq::fail(dmq::Errc::kInvalidArgument, "--data is empty; name a directory for the store");
  }
  auto good = dmq::check_endpoint("--listen", options.listen, dmq::EndpointUse::kListen);
  if (good) good = dmq::check_endpoint("--metad", options.metad, dmq::EndpointUse::kConnect);
  if (!good) return good;
  for (const auto& [flag, endpoint] :
       {std::pair{"--log-listen", options.peers.log_listen}, std::pair{"--peer-listen", options.peers.peer_listen}}) {
    if (!endpoint.empty()) good = dmq::check_endpoint(flag, endpoint, dmq::EndpointUse::kListen);
    if (!good) return good;
  }
  if (!options.advertise.empty()) {
    return dmq::check_endpoint("--advertise", options.advertise, dmq::EndpointUse::kConnect);
  }
  if (!dmq::is_everywhere(options.listen)) return {};
  return dmq::fail(
      dmq::Errc::kInvalidArgument,
      "listening on every interface needs --advertise tcp://HOST:PORT, by which routers reach this worker");
}

// "tcp://10.0.0.2:7320" gives "10.0.0.2"; what is no TCP endpoint gives nothing.
std::string host_of(const std::string& endpoint) {
  const std::string full = dmq::endpoint_of(endpoint);
  const std::size_t begin = std::string("tcp://").size();
  return full.starts_with("tcp://") ? full.substr(begin, full.rfind(':') - begin) : std::string();
}

void complete(dmq::WorkerOptions& options) {
  const std::string host = host_of(options.listen);
  if (host.empty()) return;
  dmq::PeerOptions& peers = options.peers;
  if (peers.log_listen.empty()) peers.log_listen = "tcp://" + host + ":*";
  if (peers.peer_listen.empty()) peers.peer_listen = "tcp://" + host + ":*";
  peers.advertise_host = host_of(options.advertise);
}

dmq::Result<dmq::RunningService> open(zmq::context_t& context, dmq::WorkerOptions options) {
  auto opened = dmq::Worker::open(context, std::move(options));
  if (!opened) return tl::unexpected<dmq::Error>(opened.error());
  const std::shared_ptr<dmq::Worker> worker = std::move(*opened);
  const auto reactor = std::make_shared<dmq::Reactor>();
  reactor->add(*worker);
  return dmq::run_in_thread({.endpoint = worker->endpoint(),
                             .run = [reactor, worker] { reactor->run(); },
                             .stop = [reactor] { reactor->stop(); },
                             .failure = [worker] { return worker->failure(); }});
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("dmq-storage keeps the messages of its partitions in LMDB and serves routers.", "dmq-storage");
  Flags flags;
  add_flags(app, flags);
  const auto check_flags = [&flags] {
    flags.worker.sync = *dmq::sync_from_name(flags.sync);
    flags.worker.on_damage = flags.accept_damage ? dmq::OnDamage::kAccept : dmq::OnDamage::kSetAside;
    complete(flags.worker);
    return check(flags.worker);
  };
  const auto serve = [&flags](zmq::context_t& context) { return open(context, flags.worker); };
  return dmq::run_daemon(app, argc, argv, {kExamples, check_flags, serve});
}
