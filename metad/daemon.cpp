// The loop of metad: requests in, one transaction a turn, replies and the feed out.
#include "metad/daemon.hpp"

#include <algorithm>
#include <exception>
#include <random>

#include "runtime/clock.hpp"
#include "runtime/endpoint.hpp"
#include "runtime/logging.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr int kRequestsPerTurn = 1000;
constexpr std::int64_t kRequestFrameBytesMax = 64 * 1024;
constexpr DurationMs kPublishInterval{1000};
constexpr std::string_view kTcp = "tcp://";

// "tcp://host:port" in three parts; no host when it is another transport.
struct TcpEndpoint {
  std::string host;
  std::string port;
};
TcpEndpoint split(const std::string& endpoint) {
  const auto colon = endpoint.rfind(':');
  if (!endpoint.starts_with(kTcp) || colon < kTcp.size()) return {};
  return {endpoint.substr(kTcp.size(), colon - kTcp.size()), endpoint.substr(colon + 1)};
}

std::string default_feed(const std::string& listen) {
  const TcpEndpoint tcp = split(listen);
  return tcp.host.empty() ? listen + "-feed" : std::string(kTcp) + tcp.host + ":*";
}

std::string feed_of(const MetadOptions& options) {
  return options.feed.empty() ? default_feed(endpoint_of(options.listen)) : endpoint_of(options.feed);
}

// What members connect to. REQUIRES: check_options.
std::string advertised(const std::string& bound, const std::string& host) {
  const TcpEndpoint tcp = split(bound);
  return tcp.host.empty() || host.empty() ? bound : std::string(kTcp) + host + ":" + tcp.port;
}

// Members are told where the feed is, and "everywhere" tells them nothing.
Result<void> check_advertise(const MetadOptions& options) {
  if (!options.advertise.empty()) {
    const auto good =
        check_endpoint("--advertise", std::string(kTcp) + options.advertise + ":1", EndpointUse::kConnect);
    if (good) return {};
    return fail(Errc::kInvalidArgument,
                "--advertise '" + options.advertise + "' is no host; write a name or an address");
  }
  if (!is_everywhere(feed_of(options))) return {};
  return fail(Errc::kInvalidArgument,
              "listening on every interface needs --advertise HOST, the name or address by "
              "which workers and routers reach this machine");
}

std::uint64_t random_cluster_id() {
  std::random_device source;
  return std::uniform_int_distribution<std::uint64_t>(1, kNumberMax)(source);
}

// Two in sync of three: one may be lost without losing a message, and without a stop.
ClusterInfo first_cluster(const MetadOptions& options) {
  const unsigned replicas = options.replicas.value_or(1);
  const unsigned min_in_sync = options.min_in_sync.value_or(replicas >= 3 ? 2 : 1);
  return {random_cluster_id(), static_cast<std::uint8_t>(replicas), static_cast<std::uint8_t>(min_in_sync)};
}

template <class T>
tl::unexpected<Error> pass_on(const Result<T>& failed) {
  return tl::unexpected<Error>(failed.error());
}

}  // namespace

Result<void> check_options(const MetadOptions& options) {
  if (options.partitions == 0 || options.partitions > kPartitionsMax) {
    return fail(Errc::kInvalidArgument, "the number of partitions must be from 1 to 4096");
  }
  if (options.heartbeat.value < 10 || options.heartbeat.value > 60'000) {
    return fail(Errc::kInvalidArgument, "the heartbeat must be from 10ms to 60s");
  }
  if (options.missed_heartbeats < 2 || options.missed_heartbeats > 1000) {
    return fail(Errc::kInvalidArgument, "from 2 to 1000 heartbeats may be missed");
  }
  const unsigned replicas = options.replicas.value_or(1);
  if (replicas < 1 || replicas > kReplicationFactorMax) {
    return fail(Errc::kInvalidArgument, "the number of replicas must be from 1 to 7");
  }
  if (const unsigned least = options.min_in_sync.value_or(1); least < 1 || least > replicas) {
    return fail(Errc::kInvalidArgument, "--min-in-sync must be from 1 to the number of replicas");
  }
  if (options.data_dir.empty()) {
    return fail(Errc::kInvalidArgument, "--data is empty; name a directory for the catalog");
  }
  auto good = check_endpoint("--listen", options.listen, EndpointUse::kListen);
  if (good && !options.feed.empty()) good = check_endpoint("--feed", options.feed, EndpointUse::kListen);
  return good ? check_advertise(options) : good;
}

Result<MetadDaemon::Sockets> MetadDaemon::bind_sockets(zmq::context_t& context, const MetadOptions& options) {
  Sockets out{make_socket(context, zmq::socket_type::router, {.frame_bytes = kRequestFrameBytesMax}),
              make_socket(context, zmq::socket_type::pub, {.frame_bytes = kRequestFrameBytesMax}), "", ""};
  // The feed first: who reaches the requests can subscribe.
  auto feed = bind_socket(out.feed, feed_of(options));
  if (!feed) return pass_on(feed);
  auto requests = bind_socket(out.requests, options.listen);
  if (!requests) return pass_on(requests);
  out.feed_endpoint = std::move(*feed);
  out.endpoint = std::move(*requests);
  return out;
}

Result<std::unique_ptr<MetadDaemon>> MetadDaemon::open(zmq::context_t& context, MetadOptions options) {
  if (auto good = check_options(options); !good) return pass_on(good);
  CatalogImage first;
  first.counters.partitions = options.partitions;
  // Sessions of a catalog that replaces a lost one must not meet those that members still hold.
  first.counters.last_session = SessionId{static_cast<std::uint64_t>(wall_now().value)};
  first.records = {first_cluster(options)};
  auto store = CatalogStore::open(options.data_dir, first);
  if (!store) return pass_on(store);
  auto image = (*store)->load();
  if (!image) return pass_on(image);
  if (image->counters.partitions != options.partitions) {
    spdlog::info("the cluster has {} partitions since its first start; {} is not used", image->counters.partitions,
                 options.partitions);
  }
  auto sockets = bind_sockets(context, options);
  if (!sockets) return pass_on(sockets);
  std::string feed = advertised(sockets->feed_endpoint, options.advertise);
  Controller controller(std::move(*image), {.heartbeat = options.heartbeat,
                                            .missed_heartbeats = options.missed_heartbeats,
                                            .feed_endpoint = feed,
                                            .handover_after = options.handover_after,
                                            .replace_after = options.replace_after});
  const ClusterInfo& cluster = controller.cluster();
  if (options.replicas.value_or(cluster.replication_factor) != cluster.replication_factor ||
      options.min_in_sync.value_or(cluster.min_in_sync) != cluster.min_in_sync) {
    spdlog::info(
        "the cluster keeps {} replicas and wants {} in sync since an earlier start or an operator's change; "
        "--replicas and --min-in-sync are not used",
        cluster.replication_factor, cluster.min_in_sync);
  }
  return std::unique_ptr<MetadDaemon>(new MetadDaemon(std::move(*sockets), std::move(*store), std::move(controller),
                                                      std::move(options), std::move(feed)));
}

MetadDaemon::MetadDaemon(Sockets sockets, std::unique_ptr<CatalogStore> store, Controller controller,
                         MetadOptions options, std::string feed_endpoint)
    : sockets_(std::move(sockets)),
      store_(std::move(store)),
      controller_(std::move(controller)),
      options_(std::move(options)),
      feed_endpoint_(std::move(feed_endpoint)),
      committed_(controller_.counters()) {}

MetadDaemon::~MetadDaemon() = default;

void MetadDaemon::run() {
  try {
    run_loop();
  } catch (const std::exception& error) {
    failure_ = fail(Errc::kInternal, std::string("metad stops: ") + error.what());
  }
}

void MetadDaemon::run_loop() {
  zmq::pollitem_t items[] = {{sockets_.requests.handle(), 0, ZMQ_POLLIN, 0}, {nullptr, stop_.fd(), ZMQ_POLLIN, 0}};
  while (failure_) {
    const std::int64_t wait = (std::min(tick_due_, publish_due_) - steady_now()).value;
    if (zmq_poll(items, 2, std::max<long>(0, static_cast<long>(wait))) < 0 && zmq_errno() != EINTR) {
      throw zmq::error_t();
    }
    if (items[1].revents != 0) return;
    turn(steady_now());
  }
}

void MetadDaemon::turn(TimeMs now) {
  answers_.clear();
  changes_.clear();
  const bool drained = drain_requests(now);
  // Heartbeats that still wait to be read must not count as silence.
  if (drained && now >= tick_due_) tick(now);
  if (!commit()) return;
  send_answers();
  publish(now);
}

// False: the bound was reached and more may wait.
bool MetadDaemon::drain_requests(TimeMs now) {
  std::vector<zmq::message_t> frames;
  for (int i = 0; i < kRequestsPerTurn; ++i) {
    if (!receive_frames(sockets_.requests, frames)) return true;
    take_request(frames, now);
  }
  return false;
}

void MetadDaemon::take_request(std::vector<zmq::message_t>& frames, TimeMs now) {
  auto request = frames.size() == 2 ? decode_metad_request(bytes_of(frames[1]), reader_)
                                    : fail(Errc::kMalformed, "a request is one frame");
  if (!request) return refuse_unread(frames, request.error());
  if (const auto* member = std::get_if<RegisterMember>(&request->body)) {
    spdlog::info("{} '{}' registers", member->role == RegisterMember::Role::kWorker ? "worker" : "router",
                 member->name);
  }
  const ControllerEvent event = std::visit([](auto& body) { return ControllerEvent(std::move(body)); }, request->body);
  ControllerEffects effects = controller_.step({now, wall_now()}, event);
  std::move(effects.changes.begin(), effects.changes.end(), std::back_inserter(changes_));
  answers_.push_back({std::move(frames[0]), {request->id, std::move(*effects.reply)}});
}

// What has an id is a request, of a mistaken or a newer program; what has none is no message of this protocol.
void MetadDaemon::refuse_unread(std::vector<zmq::message_t>& frames, const Error& error) {
  const auto id = frames.size() == 2 ? metad_request_id(bytes_of(frames[1]), reader_) : std::nullopt;
  if (id) {
    answers_.push_back({std::move(frames[0]), {*id, error}});
    return;
  }
  ++dropped_;
  spdlog::debug("dropped a request: {}", error.context);
}

void MetadDaemon::tick(TimeMs now) {
  tick_due_ = now + DurationMs{options_.heartbeat.value / 2};
  ControllerEffects effects = controller_.step({now, wall_now()}, ControllerTick{});
  for (const CatalogChange& change : effects.changes) {
    const auto* worker = std::get_if<WorkerInfo>(&change);
    if (worker != nullptr)
      spdlog::warn("worker '{}' has been silent for {} heartbeats", worker->name, options_.missed_heartbeats);
  }
  std::move(effects.changes.begin(), effects.changes.end(), std::back_inserter(changes_));
  if (dropped_ != 0) spdlog::warn("dropped {} requests that were no requests to metad", std::exchange(dropped_, 0));
}

// False: the loop must end. What could not be written for want of space is taken back and refused.
bool MetadDaemon::commit() {
  if (controller_.counters() == committed_) {
    controller_.keep();
    return true;
  }
  const auto written = store_->commit(controller_.counters(), changes_);
  if (written) {
    controller_.keep();
    refusing_ = false;
    return true;
  }
  if (written.error().code != Errc::kInsufficientStorage) {
    failure_ = fail(written.error().code, "metad stops: " + written.error().context);
    return false;
  }
  refuse(written.error());
  return true;
}

void MetadDaemon::refuse(const Error& error) {
  if (!std::exchange(refusing_, true)) spdlog::error("{}", error.context);
  controller_.undo();
  changes_.clear();
  // Any answer of this turn but a heartbeat's or an error may tell of what was taken back.
  for (Answer& answer : answers_) {
    MetadReplyBody& body = answer.reply.body;
    if (!std::holds_alternative<Done>(body) && !std::holds_alternative<Error>(body)) body = error;
  }
}

void MetadDaemon::send_answers() {
  std::vector<zmq::message_t> frames;
  for (Answer& answer : answers_) {
    frames.clear();
    frames.push_back(std::move(answer.peer));
    frames.push_back(make_frame(encode_metad_reply(answer.reply)));
    // Who left or does not read asks again.
    if (send_frames(sockets_.requests, frames) != SendOutcome::kSent) spdlog::debug("a reply found no reader");
  }
}

void MetadDaemon::publish(TimeMs now) {
  const CatalogCounters& counters = controller_.counters();
  const bool changed = counters.version != committed_.version;
  const CatalogVersion before = std::exchange(committed_, counters).version;
  if (!changed && now < publish_due_) return;
  publish_due_ = now + std::min(kPublishInterval, options_.heartbeat);
  std::vector<zmq::message_t> frames;
  frames.push_back(copy_frame(kCatalogTopic));
  frames.push_back(make_frame(encode_update({counters.generation, before, counters.version, std::move(changes_)})));
  send_frames(sockets_.feed, frames);
}

}  // namespace dmq
