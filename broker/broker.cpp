// Starts metad, the workers and the router over inproc, and ends them in the opposite order.
#include "dmq/broker.hpp"

#include <poll.h>

#include <filesystem>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "metad/daemon.hpp"
#include "router/router.hpp"
#include "runtime/clock.hpp"
#include "runtime/data_directory.hpp"
#include "runtime/logging.hpp"
#include "runtime/reactor.hpp"
#include "runtime/staged_directory.hpp"
#include "storage/worker.hpp"

namespace dmq {
namespace {

constexpr DurationMs kReadyWithin{30'000};
constexpr int kReadyPollMs = 1;
constexpr const char* kMetad = "inproc://metad";

template <class T>
T value_or_throw(Result<T> result) {
  if (!result) throw BrokerError(result.error().context);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

}  // namespace

struct Broker::Parts {
  explicit Parts(BrokerOptions given);
  ~Parts() { stop(); }
  void open_store();
  void start_metad();
  void open_router();
  void open_worker(unsigned index);
  void start_threads();
  void wait_until_ready();
  void stop();
  void note_failure(const Result<void>& failure);

  BrokerOptions options;
  std::optional<TemporaryDirectory> temporary;
  zmq::context_t context{1};
  std::unique_ptr<MetadDaemon> metad;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<Router> router;
  std::vector<std::unique_ptr<Reactor>> reactors;  // one per worker, the first with the router
  std::thread metad_thread;
  std::vector<std::thread> threads;  // of the reactors
  std::string admin_endpoint;
  Wakeup failed;
  mutable std::mutex mutex;  // guards failure_text
  std::string failure_text;
};

Broker::Parts::Parts(BrokerOptions given) : options(std::move(given)) {
  // A program that embeds a broker and did not set up spdlog hears of warnings only, and not on its standard output.
  if (spdlog::default_logger()->name().empty()) value_or_throw(set_up_logging("dmq", "warn", "logfmt"));
  try {
    open_store();
    open_router();  // first: a port that is taken leaves no new store behind
    start_metad();
    for (unsigned i = 0; i < options.workers; ++i) open_worker(i);
    start_threads();
    wait_until_ready();
  } catch (...) {
    stop();
    throw;
  }
}

void Broker::Parts::open_store() {
  if (options.workers == 0) throw BrokerError("a broker needs at least one worker");
  if (options.replicas == 0 || options.replicas > options.workers) {
    throw BrokerError("there are " + std::to_string(options.workers) +
                      " workers, so there can be from 1 to as many replicas");
  }
  if (options.data_dir.empty()) {
    if (const int removed = TemporaryDirectory::remove_left_behind(); removed != 0) {
      spdlog::info("removed what killed brokers left behind: {} temporary store(s)", removed);
    }
    options.data_dir = temporary.emplace().path();
  }
  if (std::filesystem::exists(options.data_dir + "/" + kBackupMark)) {
    throw BrokerError(options.data_dir + " is a backup; make a data directory of it with: dmq restore");
  }
  // A store of a worker that is not started would be queues that nobody serves.
  const std::string next = options.data_dir + "/storage-" + std::to_string(options.workers);
  if (std::filesystem::exists(next)) {
    throw BrokerError("the store in " + options.data_dir + " was made with more workers than " +
                      std::to_string(options.workers) + "; start it with --workers of at least that many");
  }
}

void Broker::Parts::start_metad() {
  MetadOptions set;
  set.data_dir = options.data_dir + "/metad";
  set.listen = kMetad;
  set.partitions = options.partitions;
  if (options.replicas > 1) set.replicas = options.replicas;
  set.heartbeat = DurationMs{1000};  // the parts of one process live and die together: no hurry
  metad = value_or_throw(MetadDaemon::open(context, set));
  metad_thread = std::thread([this] {
    metad->run();
    note_failure(metad->failure());
  });
}

void Broker::Parts::open_worker(unsigned index) {
  WorkerOptions set;
  set.data_dir = options.data_dir + "/storage-" + std::to_string(index);
  set.listen = "inproc://worker-" + std::to_string(index);
  set.metad = kMetad;
  if (options.workers > 1) {  // to copy what others lead, and for messages that move to a queue of another's
    set.peers.log_listen = set.listen + "-log";
    set.peers.peer_listen = set.listen + "-peer";
  }
  set.sync = value_or_throw(sync_from_name(options.sync));
  // Nobody else has what a damaged store has: it is for the operator to say what becomes of it.
  set.on_damage = options.accept_damage ? OnDamage::kAccept : OnDamage::kRefuse;
  set.limits.store_bytes = options.store_limit;
  set.limits.producer_idle = DurationMs{options.producer_idle_ms};
  workers.push_back(value_or_throw(Worker::open(context, set)));
}

void Broker::Parts::open_router() {
  RouterOptions set;
  set.listen = options.listen;
  set.admin = options.admin;
  set.metad = kMetad;
  set.auto_create = options.auto_create;
  set.allow_delete = options.allow_delete;
  router = value_or_throw(Router::open(context, set));
  admin_endpoint = router->admin_endpoint();
}

// The first worker shares the router's thread, so that a request and its reply wake nobody in between.
void Broker::Parts::start_threads() {
  reactors.resize(workers.size());
  for (std::size_t i = 0; i < workers.size(); ++i) {
    reactors[i] = std::make_unique<Reactor>();
    if (i == 0) reactors[i]->add(*router);
    reactors[i]->add(*workers[i]);
    threads.emplace_back([this, reactor = reactors[i].get(), worker = workers[i].get()] {
      reactor->run();
      note_failure(worker->failure());
    });
  }
}

void Broker::Parts::wait_until_ready() {
  const TimeMs until = steady_now() + kReadyWithin;
  pollfd item{failed.fd(), POLLIN, 0};
  while (!router->ready()) {
    if (poll(&item, 1, kReadyPollMs) > 0) {
      const std::lock_guard lock(mutex);
      throw BrokerError(failure_text);
    }
    if (steady_now() > until) throw BrokerError("the broker's parts did not find each other within 30 s");
  }
}

void Broker::Parts::note_failure(const Result<void>& failure) {
  if (failure) return;
  const std::lock_guard lock(mutex);
  if (failure_text.empty()) failure_text = failure.error().context;
  failed.raise();
}

void Broker::Parts::stop() {
  // The router's thread is the last of them: what other workers took is committed, and their replies are passed on.
  for (std::size_t i = threads.size(); i-- > 0;) {
    reactors[i]->stop();
    threads[i].join();
  }
  threads.clear();
  if (metad_thread.joinable()) {
    metad->stop();
    metad_thread.join();
  }
}

Broker::Broker(BrokerOptions options) : parts_(std::make_unique<Parts>(std::move(options))) {}
Broker::~Broker() = default;

const std::string& Broker::endpoint() const { return parts_->router->endpoint(); }
const std::string& Broker::admin_endpoint() const { return parts_->admin_endpoint; }
const std::string& Broker::data_dir() const { return parts_->options.data_dir; }

std::uint64_t Broker::messages_found() const {
  std::uint64_t sum = 0;
  for (const auto& worker : parts_->workers) sum += worker->messages_found();
  return sum;
}

int Broker::failure_fd() const { return parts_->failed.fd(); }

std::string Broker::failure() const {
  const std::lock_guard lock(parts_->mutex);
  return parts_->failure_text;
}

void Broker::stop() { parts_->stop(); }

}  // namespace dmq
