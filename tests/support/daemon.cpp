// See daemon.hpp.
#include "tests/support/daemon.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string_view>

namespace dmq::support {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kPortFirst = 20'000;
constexpr int kPortLast = 32'000;

bool is_free(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool bound = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return bound;
}

[[noreturn]] void become(const std::vector<std::string>& arguments, const Surroundings& surroundings, int output,
                         int log, int death_signal) {
  ::prctl(PR_SET_PDEATHSIG, death_signal);
  if (surroundings.network >= 0 && ::setns(surroundings.network, CLONE_NEWNET) != 0) ::_exit(126);
  for (const std::string& variable : surroundings.variables) ::putenv(const_cast<char*>(variable.c_str()));
  ::dup2(output, STDOUT_FILENO);
  if (log >= 0) ::dup2(log, STDERR_FILENO);
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  ::execv(pointers.front(), pointers.data());
  ::_exit(127);
}

// Waits until `fd` is readable.
bool readable(int fd, milliseconds patience) {
  pollfd item{fd, POLLIN, 0};
  return ::poll(&item, 1, static_cast<int>(std::max<std::int64_t>(patience.count(), 0))) > 0;
}

}  // namespace

std::uint16_t free_port() {
  std::random_device random;
  std::uniform_int_distribution<int> any(kPortFirst, kPortLast);
  for (int i = 0; i < 1000; ++i) {
    const int port = any(random);
    if (is_free(port)) return static_cast<std::uint16_t>(port);
  }
  throw std::runtime_error("there is no free port");
}

std::string program_beside(const std::string& name) {
  return (std::filesystem::read_symlink("/proc/self/exe").parent_path() / name).string();
}

Daemon::Daemon(std::string name, std::vector<std::string> arguments, std::string log_path, WithParent with_parent)
    : name_(std::move(name)),
      arguments_(std::move(arguments)),
      log_path_(std::move(log_path)),
      with_parent_(with_parent) {}

Daemon::~Daemon() { kill(); }

void Daemon::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("cannot make a pipe");
  const int log = log_path_.empty() ? -1 : ::open(log_path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const int death_signal = with_parent_ == WithParent::kKilled ? SIGKILL : SIGTERM;
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("cannot start a process");
  if (pid_ == 0) become(arguments_, surroundings_, ends[1], log, death_signal);
  ::close(ends[1]);
  if (log >= 0) ::close(log);
  output_ = ends[0];
  end_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (end_fd_ < 0) throw std::runtime_error("this system has no pidfd_open");
}

int Daemon::wait_for_end(milliseconds patience) {
  if (!readable(end_fd_, patience)) return -1;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  ::close(end_fd_);
  ::close(output_);
  pid_ = end_fd_ = output_ = -1;
  if (WIFEXITED(status)) {
    ended_how_ = "exit code " + std::to_string(WEXITSTATUS(status));
    return WEXITSTATUS(status);
  }
  ended_how_ = "signal " + std::to_string(WTERMSIG(status));
  return 128 + WTERMSIG(status);
}

bool Daemon::kill() {
  if (!running()) return false;
  if (wait_for_end(milliseconds(0)) >= 0) return false;
  ::kill(pid_, SIGKILL);
  while (wait_for_end(milliseconds(1000)) < 0) {
  }
  return true;
}

int Daemon::stop(milliseconds patience) {
  if (!running()) return -1;
  ::kill(pid_, SIGTERM);
  const int code = wait_for_end(patience);
  if (code >= 0) return code;
  kill();
  return 128 + SIGKILL;
}

bool Daemon::await_listening(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  std::string line;
  while (line.find('\n') == std::string::npos) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    char text[512];
    const ssize_t got = readable(output_, left) ? ::read(output_, text, sizeof text) : 0;
    if (got <= 0) return false;
    line.append(text, static_cast<std::size_t>(got));
  }
  constexpr std::string_view kSaid = "listening ";
  if (!line.starts_with(kSaid)) return false;
  endpoint_ = line.substr(kSaid.size(), line.find('\n') - kSaid.size());
  return true;
}

}  // namespace dmq::support
