// See broker_process.hpp.
#include "tests/bench/broker_process.hpp"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

namespace dmq::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kStartWait{20};
constexpr std::chrono::seconds kStopWait{10};

std::vector<std::string> arguments_for(const std::string& sync, const std::string& store) {
  const auto beside = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "dmq-broker";
  std::vector<std::string> arguments{beside.string(), "--listen", "tcp://127.0.0.1:*", "--sync", sync};
  if (store.empty()) {
    arguments.push_back("--ephemeral");
  } else {
    arguments.insert(arguments.end(), {"--data", store});
  }
  return arguments;
}

[[noreturn]] void become(std::vector<std::string> arguments, int output) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // no broker is left behind by a benchmark that was killed
  ::dup2(output, STDOUT_FILENO);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::execv(pointers.front(), pointers.data());
  ::_exit(127);
}

}  // namespace

BrokerProcess::BrokerProcess(const std::string& sync, const std::string& data) {
  if (!data.empty()) {
    store_ = (std::filesystem::path(data) / ("dmq-bench-" + std::to_string(::getpid()))).string();
    std::filesystem::create_directories(store_);
  }
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error("cannot make a pipe");
  std::vector<std::string> arguments = arguments_for(sync, store_);
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot start a process");
  if (pid_ == 0) become(std::move(arguments), ends[1]);
  ::close(ends[1]);
  output_ = ends[0];
  try {
    endpoint_ = read_endpoint();
  } catch (...) {
    stop();
    throw;
  }
}

BrokerProcess::~BrokerProcess() { stop(); }

// The first line: "listening tcp://127.0.0.1:PORT".
std::string BrokerProcess::read_endpoint() {
  const auto until = steady_clock::now() + kStartWait;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - steady_clock::now());
    pollfd item{output_, POLLIN, 0};
    char text[512];
    const bool readable = left.count() > 0 && ::poll(&item, 1, static_cast<int>(left.count())) > 0;
    const ssize_t got = readable ? ::read(output_, text, sizeof text) : 0;
    if (got <= 0) throw std::runtime_error("dmq-broker did not start; is it built, beside this program?");
    line.append(text, static_cast<std::size_t>(got));
  }
  std::istringstream words(line);
  std::string word;
  std::string endpoint;
  words >> word >> endpoint;
  if (word != "listening") throw std::runtime_error("dmq-broker did not say where it listens, but: " + line);
  return endpoint;
}

void BrokerProcess::stop() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  const auto until = steady_clock::now() + kStopWait;
  while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
    if (steady_clock::now() > until) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  pid_ = -1;
  ::close(output_);
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
