// dmq-bench: loads a broker, proves that every message arrived once and unchanged, and prints what it cost.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "protocol/limits.hpp"
#include "runtime/flags.hpp"
#include "tests/bench/broker_processes.hpp"
#include "tests/bench/workload.hpp"

namespace dmq::bench {
namespace {

using Json = nlohmann::ordered_json;

// SIGTERM: enough was sent. What was measured until then is printed.
std::atomic<bool> g_stop{false};
void stop_sending(int) { g_stop = true; }

struct Flags {
  Load load;
  std::uint64_t size = 1024;
  std::string mode = "both";
  BrokerLayout own;
  std::string broker;
  int broker_pid = 0;
  bool json = false;
};

// The processes that are loaded, by name.
using Processes = std::vector<std::pair<std::string, pid_t>>;

struct Costs {
  Usage all;
  std::vector<std::pair<std::string, double>> cpu_seconds;  // of each process
};

Costs costs_of(const Processes& processes) {
  Costs costs;
  for (const auto& [name, pid] : processes) {
    const Usage usage = usage_of(pid);
    costs.all += usage;
    costs.cpu_seconds.emplace_back(name, usage.cpu_seconds);
  }
  return costs;
}

Json percentiles(std::vector<std::uint32_t>& samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&samples](double part) {
    if (samples.empty()) return 0.0;
    const auto index = static_cast<std::size_t>(part * static_cast<double>(samples.size()));
    return samples[std::min(index, samples.size() - 1)] / 10.0;
  };
  return {{"p50", at(0.5)}, {"p99", at(0.99)}, {"p999", at(0.999)}};
}

double per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? std::round(static_cast<double>(count) / seconds) : 0;
}

Json report_of(const Flags& flags, Outcome& outcome, const Costs& before, const Costs& after, double anon_mb_peak) {
  const double messages = std::max<double>(static_cast<double>(outcome.confirmed), 1);
  Json report{{"producers", flags.load.producers},
              {"consumers", flags.load.consumers},
              {"window", flags.load.window},
              {"size", flags.load.size},
              {"sync", flags.broker.empty() ? flags.own.sync : "as the broker"},
              {"mode", flags.mode},
              {"messages", outcome.confirmed},
              {"sent_per_s", per_second(outcome.confirmed, outcome.send_seconds)},
              {"end_to_end_per_s", per_second(outcome.acked, outcome.end_to_end_seconds)},
              {"confirm_us", percentiles(outcome.confirm.samples)},
              {"end_to_end_us", percentiles(outcome.end_to_end.samples)},
              {"lost", outcome.lost},
              {"duplicated", outcome.duplicated},
              {"corrupt", outcome.corrupt},
              {"send_failures", outcome.send_failures},
              {"ack_failures", outcome.ack_failures},
              {"foreign", outcome.foreign},
              {"broker_cpu_us_per_message", (after.all.cpu_seconds - before.all.cpu_seconds) * 1e6 / messages},
              {"broker_peak_rss_mb", after.all.peak_rss_mb},
              {"broker_anon_mb", anon_mb_peak},
              {"disk_bytes_per_message", static_cast<double>(after.all.disk_bytes - before.all.disk_bytes) / messages}};
  if (flags.own.workers == 0) return report;
  report["workers"] = flags.own.workers;
  report["replicas"] = flags.own.replicas;
  report["min_in_sync"] = flags.own.min_in_sync;
  for (std::size_t i = 0; i < after.cpu_seconds.size(); ++i) {
    const auto& [name, seconds] = after.cpu_seconds[i];
    report["cpu_us_per_message"][name] = (seconds - before.cpu_seconds[i].second) * 1e6 / messages;
  }
  return report;
}

void print_text(const Json& report) {
  for (const auto& [key, value] : report.items()) {
    std::cout << key << std::string(key.size() < 28 ? 28 - key.size() : 1, ' ');
    if (value.is_object()) {
      for (const auto& [name, part] : value.items()) std::cout << name << " " << part << "  ";
      std::cout << "\n";
    } else if (value.is_string()) {
      std::cout << value.get<std::string>() << "\n";
    } else {
      std::cout << value << "\n";
    }
  }
}

int measure(Flags flags) {
  std::optional<BrokerProcesses> own;
  Processes processes;
  if (flags.broker.empty()) {
    own.emplace(flags.own);
    for (const auto& daemon : own->daemons()) processes.emplace_back(daemon->name(), daemon->pid());
  } else {
    processes.emplace_back("broker", flags.broker_pid);
  }
  flags.load.endpoint = own ? own->endpoint() : flags.broker;
  flags.load.size = flags.size;
  flags.load.fill_first = flags.mode == "filldrain";
  if (flags.load.count != 0) flags.load.seconds = 0;
  flags.load.stop = &g_stop;
  std::signal(SIGTERM, stop_sending);

  const Costs before = costs_of(processes);
  double anon_mb_peak = before.all.anon_mb;
  const auto watch = [&] { anon_mb_peak = std::max(anon_mb_peak, costs_of(processes).all.anon_mb); };
  Outcome outcome = run_load(flags.load, watch);
  watch();
  const Json report = report_of(flags, outcome, before, costs_of(processes), anon_mb_peak);
  for (const std::string& error : outcome.errors) std::cerr << "dmq-bench: " << error << "\n";
  if (flags.json) {
    std::cout << report.dump() << std::endl;
  } else {
    print_text(report);
  }
  const bool good = outcome.lost == 0 && outcome.duplicated == 0 && outcome.corrupt == 0 && outcome.confirmed != 0;
  return good ? kExitOk : kExitError;
}

int run(int argc, char** argv) {
  Flags flags;
  CLI::App app{
      "Loads a dmq broker and checks every message. Without --broker it starts one of its own, or with --workers a "
      "cluster.",
      "dmq-bench"};
  app.add_option("--producers", flags.load.producers, "Threads that send")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--consumers", flags.load.consumers, "Threads that receive")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_option("--window", flags.load.window, "Unconfirmed sends of a producer, refilled by halves")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  add_size(app, "--size", flags.size, kMessageBytesMax, "Of a body")->check(CLI::Range(kStampBytes, kMessageBytesMax));
  app.add_option("--seconds", flags.load.seconds, "How long to send")->capture_default_str();
  app.add_option("--count", flags.load.count, "Send so many messages instead");
  app.add_option("--rate", flags.load.rate, "Messages that all producers send in a second; 0: as many as they can")
      ->check(CLI::Range(0, 100'000'000))
      ->capture_default_str();
  app.add_option("--mode", flags.mode, "both: send and receive at once; filldrain: one after the other")
      ->check(CLI::IsMember({"both", "filldrain"}))
      ->capture_default_str();
  app.add_option("--queue", flags.load.queue, "The queue")->capture_default_str();
  app.add_option("--partitions", flags.load.partitions, "Over so many it is spread")
      ->capture_default_str()
      ->check(CLI::Range(1, 64));
  app.add_option("--credit", flags.load.credit, "Consumers subscribe with it; 0: they receive")
      ->capture_default_str()
      ->check(CLI::Range(0, 10'000));
  app.add_option("--sync", flags.own.sync, "Of the broker that is started: commit, interval or none")
      ->check(CLI::IsMember({"commit", "interval", "none"}))
      ->capture_default_str();
  app.add_option("--data", flags.own.data,
                 "Where what is started keeps its stores (default: what is for temporary files)");
  auto* workers =
      app.add_option("--workers", flags.own.workers,
                     "Start a cluster with so many dmq-storage, a dmq-metad and a dmq-router instead of one dmq-broker")
          ->check(CLI::Range(1, 16));
  app.add_option("--replicas", flags.own.replicas, "How many of them keep each message")
      ->needs(workers)
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app.add_option("--min-in-sync", flags.own.min_in_sync, "How many must have it before it is confirmed")
      ->needs(workers)
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  app.add_option("--broker", flags.broker, "Load this broker instead of starting one")->excludes(workers);
  app.add_option("--broker-pid", flags.broker_pid, "Of that broker, to read what it used");
  app.add_option("--io-threads", flags.load.io_threads, "ZeroMQ threads of the benchmark")->capture_default_str();
  app.add_flag("--json", flags.json, "Print one JSON object");
  if (const auto code = parse_flags(app, argc, argv)) return *code;
  return measure(std::move(flags));
}

}  // namespace
}  // namespace dmq::bench

int main(int argc, char** argv) {
  try {
    return dmq::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "dmq-bench: " << error.what() << std::endl;
    return dmq::kExitError;
  }
}
