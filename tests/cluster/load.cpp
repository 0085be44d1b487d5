// See load.hpp.
#include "tests/cluster/load.hpp"

#include <chrono>
#include <random>

namespace dmq::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kWindow = 200;
constexpr std::size_t kReceiveMax = 40;
constexpr milliseconds kLease{5'000};  // longer than a restart, shorter than the patience at the end
constexpr milliseconds kReceiveWait{200};
constexpr milliseconds kPatience{120'000};
constexpr std::size_t kComplaintsMax = 20;

std::string queue_name(std::uint32_t queue) { return "crash-" + std::to_string(queue); }

}  // namespace

// Sends bursts of 1 to 20 messages with short pauses, never more than the window ahead of the confirmations.
class Load::Producer {
 public:
  Producer(Load& load, std::uint32_t number)
      : load_(load),
        number_(number),
        random_(load.options_.seed * 1000 + number),
        counters_(load.options_.queues, 0),
        client_(load.client_options()) {}

  void run() {
    try {
      while (load_.send_) {
        send_burst();
        client_.poll(milliseconds(random_() % 12));
        while (load_.send_ && client_.unconfirmed() + 20 > kWindow) client_.poll(milliseconds(50));
      }
      client_.flush(kPatience);
    } catch (const ClientError& error) {
      load_.complain("producer " + std::to_string(number_) + ": " + error.what());
    }
  }

 private:
  void send_burst() {
    const auto queue = static_cast<std::uint32_t>(random_() % load_.options_.queues);
    for (auto left = random_() % 20 + 1; left != 0; --left) {
      const MessageName name{queue, number_, counters_[queue]++};
      {
        const std::lock_guard lock(load_.mutex_);
        load_.history_.sent(name);
      }
      client_.send_async(
          queue_name(queue), make_body(name, load_.options_.seed),
          [this, name](const SendResult& result) { note(name, result); }, left > 1 ? More::kYes : More::kNo);
    }
  }
  void note(const MessageName& name, const SendResult& result) {
    const std::lock_guard lock(load_.mutex_);
    if (result) return load_.history_.confirmed(name);
    load_.history_.unconfirmed(name);
    ++load_.unconfirmed_reasons_[result.failure->message];
  }

  Load& load_;
  const std::uint32_t number_;
  std::mt19937_64 random_;
  std::vector<std::uint64_t> counters_;
  Client client_;
};

// One receive at a time. Acks most batches, gives some back, and drops some so that their leases release them.
class Load::Consumer {
 public:
  Consumer(Load& load, std::uint32_t queue, std::uint32_t number)
      : load_(load), queue_(queue), random_(load.options_.seed * 7000 + number), client_(load.client_options()) {}

  void run() {
    while (load_.receive_) {
      try {
        if (load_.hold_) {
          client_.poll(milliseconds(50));
        } else {
          step();
        }
      } catch (const ClientError& error) {
        load_.complain("consumer of queue " + std::to_string(queue_) + ": " + error.what());
      }
    }
    client_.close(milliseconds(2'000));
  }

 private:
  void step() {
    ReceiveOptions options;
    options.max = random_() % kReceiveMax + 1;
    options.wait = kReceiveWait;
    options.lease = kLease;
    History::Moment begun = 0;
    {
      const std::lock_guard lock(load_.mutex_);
      begun = load_.history_.receive_begins();
    }
    std::vector<Lease> leases = client_.receive(queue_name(queue_), options);
    if (leases.empty()) return;
    std::vector<std::string> ids;
    for (const Lease& lease : leases) ids.emplace_back(lease.id());
    {
      const std::lock_guard lock(load_.mutex_);
      for (const Lease& lease : leases) {
        load_.history_.delivered(read_body(lease.body(), load_.options_.seed), queue_, lease.id(), begun);
      }
    }
    settle(leases, std::move(ids));
  }
  void settle(std::vector<Lease>& leases, std::vector<std::string> ids) {
    switch (random_() % 30) {
      case 0:
        client_.nack_async(leases, milliseconds(random_() % 300), [](const SettleResult&) {});
        return;
      case 1:
        return;  // the leases give themselves back
      default:
        client_.ack_async(leases, [this, ids = std::move(ids)](const SettleResult& result) { note(ids, result); });
    }
  }
  // Counts tell how many were acked, not which: only a whole batch is known.
  void note(const std::vector<std::string>& ids, const SettleResult& result) {
    if (result.failure || result.presumed != 0 || result.done != ids.size()) return;
    const std::lock_guard lock(load_.mutex_);
    for (const std::string& id : ids) load_.history_.acked(queue_, id);
  }

  Load& load_;
  const std::uint32_t queue_;
  std::mt19937_64 random_;
  Client client_;
};

Load::Load(LoadOptions options)
    : options_(std::move(options)), network_(make_network()), history_(options_.consumers_per_queue == 1) {
  for (std::uint32_t i = 0; i < options_.producers; ++i) {
    producers_.emplace_back([this, i] { Producer(*this, i).run(); });
  }
  for (std::uint32_t i = 0; i < options_.queues * options_.consumers_per_queue; ++i) {
    consumers_.emplace_back([this, i] { Consumer(*this, i % options_.queues, i).run(); });
  }
}

Load::~Load() {
  stop_producers();
  stop_consumers();
}

ClientOptions Load::client_options() const {
  ClientOptions options;
  options.endpoints = options_.endpoints;
  options.window = kWindow;
  // With one endpoint a lost broker shows as a lost connection, and nothing may make a client leave a living one.
  options.request_timeout = milliseconds(options_.endpoints.size() == 1 ? 60'000 : 2'000);
  options.retry_for = kPatience;
  options.network = network_;
  return options;
}

void Load::stop_producers() {
  send_ = false;
  for (std::thread& thread : producers_) thread.join();
  producers_.clear();
}

void Load::stop_consumers() {
  receive_ = false;
  for (std::thread& thread : consumers_) thread.join();
  consumers_.clear();
}

std::string Load::await_empty_queues() {
  Client client(client_options());
  const auto until = steady_clock::now() + kPatience;
  std::string left = what_is_left(client);
  while (!left.empty() && steady_clock::now() < until) {
    client.poll(milliseconds(100));
    left = what_is_left(client);
  }
  return left;
}

std::string Load::what_is_left(Client& client) const {
  std::string left;
  for (std::uint32_t i = 0; i < options_.queues; ++i) {
    const Value info = client.describe_queue(queue_name(i));
    if (info.number("ready", -1) + info.number("leased", -1) + info.number("delayed", -1) == 0) continue;
    left += " " + to_json(info);
  }
  return left;
}

void Load::complain(const std::string& what) {
  const std::lock_guard lock(mutex_);
  if (complaints_.size() < kComplaintsMax) complaints_.push_back(what);
}

Counts Load::result() const {
  const std::lock_guard lock(mutex_);
  return history_.result();
}

std::vector<std::string> Load::complaints() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> all = history_.examples();
  all.insert(all.end(), complaints_.begin(), complaints_.end());
  return all;
}

std::map<std::string, int> Load::unconfirmed_reasons() const {
  const std::lock_guard lock(mutex_);
  return unconfirmed_reasons_;
}

std::uint64_t Load::confirmed() const {
  const std::lock_guard lock(mutex_);
  return history_.confirmed();
}

}  // namespace dmq::cluster
