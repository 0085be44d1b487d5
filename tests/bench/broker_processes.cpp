// See broker_processes.hpp.
#include "tests/bench/broker_processes.hpp"

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/cluster/command.hpp"

namespace dmq::bench {
namespace {

using support::program_beside;

constexpr const char* kAnyPort = "tcp://127.0.0.1:*";
constexpr std::chrono::seconds kHealthPatience{30};
constexpr int kHealthLookAgainMs = 200;

std::string new_store(const std::filesystem::path& data) {
  const auto store = data / ("dmq-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directories(store);
  return store.string();
}

// All partitions have leaders, and all replicas are in sync.
bool await_health(const std::string& metad, const std::string& log) {
  const cluster::Command status{{program_beside("dmq"), "cluster", "status", "--metad", metad}, -1, log};
  const auto until = std::chrono::steady_clock::now() + kHealthPatience;
  while (cluster::run_command(status) != 0) {
    if (std::chrono::steady_clock::now() >= until) return false;
    ::poll(nullptr, 0, kHealthLookAgainMs);
  }
  return true;
}

}  // namespace

BrokerProcesses::BrokerProcesses(const BrokerLayout& layout) {
  try {
    layout.workers == 0 ? start_broker(layout) : start_cluster(layout);
  } catch (...) {
    stop();
    throw;
  }
}

BrokerProcesses::~BrokerProcesses() { stop(); }

void BrokerProcesses::start_broker(const BrokerLayout& layout) {
  std::vector<std::string> flags{"--listen", kAnyPort, "--sync", layout.sync};
  if (layout.data.empty()) {
    flags.emplace_back("--ephemeral");
  } else {
    store_ = new_store(layout.data);
    flags.insert(flags.end(), {"--data", store_});
  }
  start("broker", "dmq-broker", std::move(flags));
}

void BrokerProcesses::start_cluster(const BrokerLayout& layout) {
  const std::filesystem::path data(layout.data);
  store_ = new_store(data.empty() ? std::filesystem::temp_directory_path() : data);
  const std::string metad =
      start("metad", "dmq-metad",
            {"--data", store_ + "/metad", "--listen", kAnyPort, "--replicas", std::to_string(layout.replicas),
             "--min-in-sync", std::to_string(layout.min_in_sync)});
  for (unsigned i = 1; i <= layout.workers; ++i) {
    const std::string name = "storage-" + std::to_string(i);
    start(
        name, "dmq-storage",
        {"--data", store_ + "/" + name, "--name", name, "--listen", kAnyPort, "--metad", metad, "--sync", layout.sync});
  }
  start("router", "dmq-router", {"--listen", kAnyPort, "--admin", "", "--metad", metad});
  const std::string log = store_ + "/status.log";
  if (!await_health(metad, log)) throw std::runtime_error("the cluster did not come in sync");
}

// It ends by SIGTERM also when the benchmark is killed, and so removes what is temporary.
const std::string& BrokerProcesses::start(const std::string& name, const std::string& program,
                                          std::vector<std::string> flags) {
  flags.insert(flags.begin(), {program_beside(program), "--log-level", "warn"});
  daemons_.push_back(std::make_unique<support::Daemon>(name, std::move(flags), "", support::WithParent::kEnded));
  daemons_.back()->start();
  if (!daemons_.back()->await_listening()) {
    throw std::runtime_error(program + " did not start; is it built, beside this program?");
  }
  return daemons_.back()->endpoint();
}

void BrokerProcesses::stop() {
  for (auto daemon = daemons_.rbegin(); daemon != daemons_.rend(); ++daemon) (*daemon)->stop();
  std::error_code ignored;
  if (!store_.empty()) std::filesystem::remove_all(store_, ignored);
}

Usage usage_of(pid_t pid) {
  Usage usage;
  if (pid <= 0) return usage;
  const std::string folder = "/proc/" + std::to_string(pid);
  std::string line;
  std::ifstream stat(folder + "/stat");
  std::getline(stat, line);
  if (const std::size_t name_end = line.rfind(')'); name_end != std::string::npos) {
    // Behind the name: the state, ten numbers, then the ticks in user and in kernel mode.
    std::istringstream fields(line.substr(name_end + 1));
    std::string skipped;
    for (int i = 0; i < 11; ++i) fields >> skipped;
    double user = 0;
    double kernel = 0;
    fields >> user >> kernel;
    usage.cpu_seconds = (user + kernel) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  }
  std::ifstream status(folder + "/status");
  while (std::getline(status, line)) {
    std::istringstream fields(line);
    std::string key;
    double kilobytes = 0;
    fields >> key >> kilobytes;
    if (key == "VmHWM:") usage.peak_rss_mb = kilobytes / 1024;
    if (key == "RssAnon:") usage.anon_mb = kilobytes / 1024;
  }
  std::ifstream io(folder + "/io");
  std::string key;
  std::uint64_t value = 0;
  while (io >> key >> value) {
    if (key == "write_bytes:") usage.disk_bytes = value;
  }
  return usage;
}

Usage& operator+=(Usage& sum, const Usage& more) {
  sum.cpu_seconds += more.cpu_seconds;
  sum.peak_rss_mb += more.peak_rss_mb;
  sum.anon_mb += more.anon_mb;
  sum.disk_bytes += more.disk_bytes;
  return sum;
}

}  // namespace dmq::bench
