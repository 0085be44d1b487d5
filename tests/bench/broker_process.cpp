// See broker_process.hpp.
#include "tests/bench/broker_process.hpp"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace dmq::bench {
namespace {

std::string new_store(const std::string& data) {
  if (data.empty()) return {};
  const auto store = std::filesystem::path(data) / ("dmq-bench-" + std::to_string(::getpid()));
  std::filesystem::create_directories(store);
  return store.string();
}

std::vector<std::string> arguments_for(const std::string& sync, const std::string& store) {
  std::vector<std::string> arguments{support::program_beside("dmq-broker"), "--listen", "tcp://127.0.0.1:*", "--sync",
                                     sync};
  if (store.empty()) {
    arguments.emplace_back("--ephemeral");
  } else {
    arguments.insert(arguments.end(), {"--data", store});
  }
  return arguments;
}

}  // namespace

// It ends by SIGTERM also when the benchmark is killed, and so removes what is temporary.
BrokerProcess::BrokerProcess(const std::string& sync, const std::string& data)
    : store_(new_store(data)), broker_("dmq-broker", arguments_for(sync, store_), "", support::WithParent::kEnded) {
  broker_.start();
  if (broker_.await_listening()) return;
  stop();
  throw std::runtime_error("dmq-broker did not start; is it built, beside this program?");
}

BrokerProcess::~BrokerProcess() { stop(); }

void BrokerProcess::stop() {
  broker_.stop();
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

}  // namespace dmq::bench
