// dmq-crash-test: strikes brokers and clusters under load with faults and checks that every promise is kept.
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <random>

#include "tests/cluster/load.hpp"
#include "tests/cluster/nemesis.hpp"

namespace dmq::cluster {
namespace {

constexpr std::size_t kSmallDiskBytes = 48 << 20;

struct Flags {
  std::string mode = "broker";
  NemesisOptions nemesis;
  std::vector<std::string> faults;  // empty: what the mode had ever since
  std::int64_t between_min_ms = 50;
  std::int64_t between_max_ms = 600;
  std::int64_t seconds = 0;
  LoadOptions load;
  int log_backlog = 0;  // 0: the daemons' own
  bool loopback = false;
  bool keep = false;
};

#ifdef DMQ_HAS_PRELOAD
constexpr bool kPreload = true;
#else
constexpr bool kPreload = false;  // sanitizers want to be loaded first themselves
#endif

void print(const Counts& counts) {
  std::cout << "sent " << counts.sent << "\nconfirmed " << counts.confirmed << "\nunconfirmed " << counts.unconfirmed
            << "\ndelivered " << counts.delivered << "\nredelivered " << counts.redelivered << "\nacked "
            << counts.acked << "\nlost " << counts.lost << "\ninvented " << counts.invented << "\ndoubled "
            << counts.doubled << "\nreused " << counts.reused << "\nundone " << counts.undone << "\ndisordered "
            << counts.disordered << std::endl;
}

// Lets the load run through the nemesis and to its end. Returns what went wrong with the programs, or empty.
std::string run_through(Load& load, Nemesis& nemesis) {
  std::string trouble = nemesis.run();
  for (const auto& [name, count] : nemesis.counts()) std::cout << "fault " << name << ' ' << count << '\n';
  std::cout << "unsynced pages taken back " << nemesis.stage().pages_lost() << "\ndamaged stores set aside "
            << nemesis.stage().set_aside() << std::endl;
  if (!trouble.empty()) return trouble;
  std::cout << "faults are over, " << load.confirmed() << " messages confirmed so far" << std::endl;
  load.stop_producers();
  const std::string left = load.await_empty_queues();
  load.stop_consumers();
  return left.empty() ? left : "queues that do not become empty:" + left;
}

// What can be had here, and into `flags` the faults that can then be.
Ground prepare(Flags& flags, std::unique_ptr<Isolation>& isolation) {
  const bool replicas = flags.mode == "replicas";
  std::vector<std::string> wanted = flags.faults;
  if (wanted.empty()) wanted = replicas ? std::vector<std::string>{"kill", "stop"} : std::vector<std::string>{"kill"};
  std::string reason = "--loopback";
  Ground ground;
  // Only what is asked for: plain kills are tested on plain programs.
  if (replicas && !flags.faults.empty()) {
    ground.preload = kPreload;
    if (!flags.loopback) isolation = Isolation::make(kReplicasPrograms, reason);
    ground.isolation = isolation.get();
    ground.small_disk_bytes = isolation ? kSmallDiskBytes : 0;
  }
  std::vector<std::string> left_out;
  flags.nemesis.faults = possible_faults(wanted, ground, replicas, left_out);
  for (const std::string& name : flags.nemesis.faults) std::cout << "with " << name << '\n';
  if (!left_out.empty()) {
    std::cout << "left out (" << (isolation ? "no preloaded library" : reason) << "):";
    for (const std::string& name : left_out) std::cout << ' ' << name;
    std::cout << '\n';
  }
  return ground;
}

// How the programs end when they are asked to, and how the clients saw it all. Sentences, empty when all is good.
std::vector<std::string> end_all(Cluster& cluster, const Load& load, const std::string& trouble) {
  std::vector<std::string> complaints = load.complaints();
  if (!trouble.empty()) complaints.push_back(trouble);
  for (const auto& daemon : cluster.daemons()) {
    if (!daemon->running() && daemon.get() == cluster.spare()) continue;
    const int code = daemon->stop();
    if (code != 0) complaints.push_back(daemon->name() + " did not end well: " + daemon->ended_how());
  }
  return complaints;
}

int run(Flags flags) {
  std::cout << "mode " << flags.mode << "\nseed " << flags.nemesis.seed << std::endl;
  const bool replicas = flags.mode == "replicas";
  const bool daemons = flags.mode == "daemons" || replicas;
  std::vector<std::string> worker_flags;
  if (flags.log_backlog > 0) worker_flags = {"--log-backlog", std::to_string(flags.log_backlog)};
  std::unique_ptr<Isolation> isolation;
  const Ground ground = prepare(flags, isolation);
  Cluster cluster(replicas ? Layout::kReplicas : daemons ? Layout::kDaemons : Layout::kBroker, worker_flags, ground);
  if (replicas) flags.nemesis.away_max = std::chrono::milliseconds(4'000);
  if (flags.keep) cluster.keep_directory();
  cluster.start();
  if (const std::string late = cluster.await_listening(); !late.empty()) {
    std::cerr << late << " does not start" << std::endl;
    return 1;
  }
  flags.load.endpoints = cluster.endpoints();
  flags.load.seed = flags.nemesis.seed;
  // A router that dies takes replies with it while their leases live on, so only one broker keeps first deliveries in
  // order. There is a second consumer then, so that one sees what the other has acked.
  flags.load.consumers_per_queue = daemons ? 2 : 1;

  const auto start = std::chrono::steady_clock::now();
  Load load(flags.load);
  Nemesis nemesis(
      cluster, isolation.get(), flags.nemesis, [&load] { return load.confirmed(); },
      [&load](bool hold) { load.hold_consumers(hold); });
  const std::string trouble = run_through(load, nemesis);
  const Counts counts = load.result();
  print(counts);
  for (const auto& [reason, count] : load.unconfirmed_reasons()) {
    std::cout << "unconfirmed, as \"" << reason << "\": " << count << '\n';
  }
  std::cout << "seconds " << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()
            << std::endl;
  std::vector<std::string> complaints = end_all(cluster, load, trouble);
  if (counts.confirmed == 0) complaints.emplace_back("nothing was confirmed at all");
  for (const std::string& complaint : complaints) std::cerr << complaint << std::endl;
  if (complaints.empty() && counts.violations() == 0) return 0;
  cluster.keep_directory();
  std::cerr << "stores and logs are in " << cluster.directory() << std::endl;
  return 1;
}

std::string what_faults() {
  std::string text = "Faults, with commas between; `all`: those with a star (default: replicas: kill,stop; else kill)";
  for (const Fault& fault : all_faults()) {
    text += std::string("\n") + fault.name + (fault.usual ? "*: " : ": ") + fault.what;
  }
  return text;
}

}  // namespace
}  // namespace dmq::cluster

int main(int argc, char** argv) {
  using namespace dmq::cluster;
  CLI::App app{"Strikes dmq under load with faults and checks every message.", "dmq-crash-test"};
  Flags flags;
  flags.nemesis.seed = std::random_device{}();
  app.add_option("--mode", flags.mode,
                 "broker: one dmq-broker; daemons: 1 dmq-metad, 2 dmq-router, 3 dmq-storage; replicas: 1, 3, 5 and a "
                 "spare worker, three replicas of all")
      ->check(CLI::IsMember({"broker", "daemons", "replicas"}))
      ->capture_default_str();
  app.add_option("--nemesis", flags.faults, what_faults())->delimiter(',');
  app.add_option("--rounds", flags.nemesis.rounds, "How many faults at least")->check(CLI::Range(0, 1'000'000));
  app.add_option("--seconds", flags.seconds, "How long there are faults at least")->check(CLI::Range(0, 1'000'000));
  app.add_option("--confirmed", flags.nemesis.confirmed_min, "How many messages have to be confirmed at least");
  app.add_option("--seed", flags.nemesis.seed, "Of all that is random here (default: a random one, printed)");
  app.add_option("--between-min", flags.between_min_ms, "Milliseconds between faults, at least")->capture_default_str();
  app.add_option("--between-max", flags.between_max_ms, "Milliseconds between faults, at most")->capture_default_str();
  app.add_option("--queues", flags.load.queues, "How many queues (default: 4; replicas: 12, so that each worker leads)")
      ->check(CLI::Range(1, 100));
  app.add_option("--producers", flags.load.producers, "Threads that send")->check(CLI::Range(1, 100));
  app.add_option("--log-backlog", flags.log_backlog, "Turns that wait for a slow follower (default: the daemons' own)");
  app.add_flag("--loopback", flags.loopback, "No namespaces, though they may be had");
  app.add_flag("--keep", flags.keep, "Keep stores and logs");
  CLI11_PARSE(app, argc, argv);
  if (flags.mode == "replicas" && app.count("--queues") == 0) flags.load.queues = 12;
  flags.nemesis.time_min = std::chrono::seconds(flags.seconds);
  flags.nemesis.between_min = std::chrono::milliseconds(flags.between_min_ms);
  flags.nemesis.between_max = std::chrono::milliseconds(std::max(flags.between_min_ms, flags.between_max_ms));
  try {
    return run(std::move(flags));
  } catch (const std::exception& error) {
    std::cerr << "dmq-crash-test: " << error.what() << std::endl;
    return 1;
  }
}
