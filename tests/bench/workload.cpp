// See workload.hpp. One thread and one client for each producer and consumer.
#include "tests/bench/workload.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <random>
#include <thread>

#include "protocol/limits.hpp"

namespace dmq::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kStallNs = 20'000'000'000;

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void raise_to(std::atomic<std::int64_t>& value, std::int64_t to) {
  for (std::int64_t seen = value; seen < to && !value.compare_exchange_weak(seen, to);) {
  }
}

// What all threads of a run share.
struct Shared {
  Load load;
  std::uint16_t run = static_cast<std::uint16_t>(std::random_device{}());
  std::shared_ptr<Network> network;
  std::int64_t start_ns = 0;
  std::int64_t deadline_ns = 0;  // of sending; 0: none
  std::atomic<std::uint64_t> claimed{0};
  std::atomic<std::uint64_t> acked{0};
  std::atomic<std::uint64_t> target{UINT64_MAX};  // how many acks end the run; known when all is sent
  std::atomic<std::int64_t> last_confirm_ns{0};
  std::atomic<std::int64_t> last_ack_ns{0};
  std::mutex errors_mutex;
  std::vector<std::string> errors;

  void note_error(const std::string& text) {
    const std::lock_guard lock(errors_mutex);
    if (errors.size() < 5) errors.push_back(text);
  }
  ClientOptions options() const {
    ClientOptions options;
    options.endpoints = {load.endpoint};
    options.window = load.window;
    options.window_bytes = SIZE_MAX / 2;
    options.network = network;
    return options;
  }
  // Up to `wanted` messages that this producer sends next; 0: the run is over.
  std::uint64_t claim(std::uint64_t wanted) {
    if (deadline_ns != 0 && now_ns() >= deadline_ns) return 0;
    if (load.stop != nullptr && *load.stop) return 0;
    const std::uint64_t before = claimed.fetch_add(wanted);
    if (load.count == 0) return wanted;
    return before >= load.count ? 0 : std::min(wanted, load.count - before);
  }
  // How long to wait before the next claim, so that no more than `rate` a second are sent.
  milliseconds pause() const {
    if (load.rate == 0) return milliseconds(0);
    const auto due_ms = static_cast<std::int64_t>(claimed.load() * 1000 / load.rate);
    return milliseconds(due_ms - (now_ns() - start_ns) / 1'000'000);
  }
};

class Producer {
 public:
  Producer(Shared& shared, std::uint16_t index)
      : shared_(shared), index_(index), body_(shared.load.size, 'x'), client_(shared.options()) {}

  void run() {
    const std::uint64_t refill = std::max<std::uint64_t>(shared_.load.window / 2, 1);
    try {
      client_.ping();
      while (const std::uint64_t count = shared_.claim(refill)) {
        for (std::uint64_t i = 0; i < count; ++i) send(i + 1 < count ? More::kYes : More::kNo);
        while (client_.unconfirmed() + refill > std::max(shared_.load.window, refill)) client_.poll(milliseconds(1000));
        for (auto pause = shared_.pause(); pause.count() > 0; pause = shared_.pause()) client_.poll(pause);
      }
      client_.flush();
    } catch (const ClientError& error) {
      shared_.note_error(std::string("producer: ") + error.what());
    }
    raise_to(shared_.last_confirm_ns, last_confirm_ns_);
  }

  std::uint64_t sent = 0;
  std::uint64_t confirmed = 0;
  std::vector<std::uint64_t> failed;  // their numbers
  Latency latency;

 private:
  void send(More more) {
    const std::int64_t now = now_ns();
    write_stamp(body_, {shared_.run, index_, sent}, now);
    // Confirms of one client come in the order of its sends, so the callback needs to hold no more than the time.
    client_.send_async(
        shared_.load.queue, body_, [this, now](const SendResult& result) { on_sent(result, now); }, more);
    ++sent;
  }
  void on_sent(const SendResult& result, std::int64_t sent_ns) {
    const std::uint64_t number = answered_++;
    if (!result) {
      failed.push_back(number);
      shared_.note_error("send: " + result.failure->message);
      return;
    }
    ++confirmed;
    last_confirm_ns_ = now_ns();
    latency.add(last_confirm_ns_ - sent_ns);
  }

  Shared& shared_;
  std::uint16_t index_;
  std::string body_;
  std::uint64_t answered_ = 0;
  std::int64_t last_confirm_ns_ = 0;
  Client client_;  // last: its destructor may still call back
};

class Consumer {
 public:
  explicit Consumer(Shared& shared) : shared_(shared), client_(shared.options()) {
    wanted_.max = std::min(shared.load.window, kBatchMessagesMax);
    wanted_.max_bytes = std::clamp(wanted_.max * shared.load.size, kReceiveBytesDefault, kReceiveBytesMax);
    wanted_.wait = milliseconds(500);
  }

  void run() {
    try {
      shared_.load.credit == 0 ? receive() : subscribe();
      while (shared_.acked < shared_.target && !failed_ && !stalled()) client_.poll(milliseconds(50));
      stopping_ = true;
    } catch (const ClientError& error) {
      shared_.note_error(std::string("consumer: ") + error.what());
    }
  }
  // Outside the measured time: the receive that is parked still comes back.
  void close() { client_.close(milliseconds(2000)); }

  std::vector<MessageName> seen;
  std::uint64_t corrupt = 0;
  std::uint64_t foreign = 0;
  std::uint64_t ack_failures = 0;
  Latency latency;

 private:
  void receive() {
    client_.receive_async(shared_.load.queue, wanted_,
                          [this](ReceiveResult result) { on_received(std::move(result)); });
  }
  void subscribe() {
    SubscribeOptions options;
    options.credit = shared_.load.credit;
    options.credit_bytes = shared_.load.credit * (shared_.load.size + 256);
    client_.subscribe(shared_.load.queue, options, [this](ReceiveResult result) { on_received(std::move(result)); });
  }
  void on_received(ReceiveResult result) {
    if (result.failure) {
      if (!stopping_) shared_.note_error("receive: " + result.failure->message);
      failed_ = true;
      return;
    }
    if (stopping_) return;  // given back by the leases themselves
    // The next receive is under way while this batch is checked and acked.
    if (shared_.load.credit == 0) receive();
    if (result.leases.empty()) return;
    const std::int64_t now = now_ns();
    std::uint64_t ours = 0;
    for (const Lease& lease : result.leases) ours += check(lease.body(), now) ? 1 : 0;
    client_.ack_async(result.leases, [this, ours](const SettleResult& settled) { on_acked(settled, ours); });
  }
  bool check(std::string_view body, std::int64_t now) {
    const Stamp stamp = read_stamp(body, shared_.load.size);
    if (body.size() >= kStampBytes && stamp.name.run != shared_.run && stamp.intact) {
      ++foreign;
      return false;
    }
    if (!stamp.intact) {
      ++corrupt;
      return true;
    }
    seen.push_back(stamp.name);
    latency.add(now - stamp.time_ns);
    return true;
  }
  void on_acked(const SettleResult& settled, std::uint64_t ours) {
    if (settled.failure || settled.stale != 0) {
      ack_failures += std::max<std::uint64_t>(settled.stale, 1);
      shared_.note_error(settled.failure ? "ack: " + settled.failure->message : "ack: stale receipts");
    }
    shared_.acked += ours;
    raise_to(shared_.last_ack_ns, now_ns());
  }
  bool stalled() const {
    return shared_.target != UINT64_MAX &&
           now_ns() - std::max(shared_.last_ack_ns.load(), shared_.last_confirm_ns.load()) > kStallNs;
  }

  Shared& shared_;
  ReceiveOptions wanted_;
  bool stopping_ = false;
  bool failed_ = false;
  Client client_;
};

// Runs `work` on a thread of its own for each worker; calls `watch` until all are done.
class Crew {
 public:
  template <class Worker>
  void start(Worker& worker) {
    ++running_;
    threads_.emplace_back([this, &worker] {
      worker.run();
      const std::lock_guard lock(mutex_);
      --running_;
      done_.notify_all();
    });
  }
  void wait(const std::function<void()>& watch) {
    std::unique_lock lock(mutex_);
    while (!done_.wait_for(lock, milliseconds(100), [this] { return running_ == 0; })) watch();
    lock.unlock();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  std::atomic<int> running_{0};
  std::vector<std::thread> threads_;
};

void add_up(const Shared& shared, const std::vector<std::unique_ptr<Producer>>& producers,
            const std::vector<std::unique_ptr<Consumer>>& consumers, Outcome& outcome) {
  std::vector<std::uint64_t> sent;
  for (const auto& producer : producers) sent.push_back(producer->sent);
  Arrivals arrivals(sent);
  for (const auto& consumer : consumers) {
    for (const MessageName& name : consumer->seen) arrivals.note(name.producer, name.number);
    outcome.corrupt += consumer->corrupt;
    outcome.foreign += consumer->foreign;
    outcome.ack_failures += consumer->ack_failures;
    auto& samples = outcome.end_to_end.samples;
    samples.insert(samples.end(), consumer->latency.samples.begin(), consumer->latency.samples.end());
  }
  for (std::size_t i = 0; i < producers.size(); ++i) {
    const Producer& producer = *producers[i];
    for (const std::uint64_t number : producer.failed) arrivals.excuse(static_cast<std::uint16_t>(i), number);
    outcome.send_failures += producer.failed.size();
    auto& samples = outcome.confirm.samples;
    samples.insert(samples.end(), producer.latency.samples.begin(), producer.latency.samples.end());
  }
  outcome.acked = shared.acked;
  outcome.lost = arrivals.lost();
  outcome.duplicated = arrivals.duplicated();
  outcome.corrupt += arrivals.invented();
  outcome.errors = shared.errors;
}

}  // namespace

Outcome run_load(const Load& load, const std::function<void()>& watch) {
  Shared shared;
  shared.load = load;
  shared.network = make_network(load.io_threads);
  if (load.partitions > 1) {
    QueueOptions options;
    options.partitions = load.partitions;
    Client(shared.options()).create_queue(load.queue, options);
  }
  Outcome outcome;
  std::vector<std::unique_ptr<Producer>> producers;
  std::vector<std::unique_ptr<Consumer>> consumers;
  for (std::size_t i = 0; i < load.producers; ++i) {
    producers.push_back(std::make_unique<Producer>(shared, static_cast<std::uint16_t>(i)));
  }
  for (std::size_t i = 0; i < load.consumers; ++i) consumers.push_back(std::make_unique<Consumer>(shared));

  Crew sending;
  Crew receiving;
  shared.start_ns = now_ns();
  if (load.seconds > 0) shared.deadline_ns = shared.start_ns + static_cast<std::int64_t>(load.seconds * 1e9);
  if (!load.fill_first) {
    for (auto& consumer : consumers) receiving.start(*consumer);
  }
  for (auto& producer : producers) sending.start(*producer);
  sending.wait(watch);
  for (const auto& producer : producers) outcome.confirmed += producer->confirmed;
  std::int64_t drain_ns = shared.start_ns;
  if (load.fill_first) {
    drain_ns = now_ns();
    raise_to(shared.last_confirm_ns, drain_ns);
    for (auto& consumer : consumers) receiving.start(*consumer);
  }
  shared.target = outcome.confirmed;
  receiving.wait(watch);
  outcome.send_seconds = static_cast<double>(shared.last_confirm_ns - shared.start_ns) * 1e-9;
  outcome.end_to_end_seconds = static_cast<double>(shared.last_ack_ns - drain_ns) * 1e-9;
  for (auto& consumer : consumers) consumer->close();
  add_up(shared, producers, consumers, outcome);
  return outcome;
}

}  // namespace dmq::bench
