// See child_processes.hpp.
#include "clients/cli/child_processes.hpp"

#include <spawn.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace dmq::cli {
namespace {

[[noreturn]] void fail(int fault, const char* what) { throw std::system_error(fault, std::generic_category(), what); }

// A file without a name, so that nobody has to feed a pipe while the command runs.
class InputFile {
 public:
  explicit InputFile(std::string_view bytes) : fd_(::memfd_create("dmq-message", MFD_CLOEXEC)) {
    if (fd_ < 0) fail(errno, "cannot hold the message's body");
    while (!bytes.empty()) {
      const ssize_t wrote = ::write(fd_, bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0) {
        const int fault = errno;
        ::close(fd_);
        fail(fault, "cannot hold the message's body");
      }
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    }
    ::lseek(fd_, 0, SEEK_SET);
  }
  ~InputFile() { ::close(fd_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// How the child differs: its input, no signal blocked or ignored, a process group of its own.
class SpawnSettings {
 public:
  explicit SpawnSettings(int input) {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    sigset_t ignored;
    sigemptyset(&ignored);
    sigaddset(&ignored, SIGPIPE);
    ::posix_spawnattr_setsigdefault(&attributes, &ignored);
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  }
  ~SpawnSettings() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

ChildProcesses::ChildProcesses() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGCHLD);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) fail(errno, "signalfd");
}

ChildProcesses::~ChildProcesses() { ::close(fd_); }

pid_t ChildProcesses::start(const std::string& command, std::string_view input,
                            const std::vector<std::string>& environment) {
  const InputFile file(input);
  const SpawnSettings settings(file.fd());
  std::vector<std::string> words{"/bin/sh", "-c", command};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  std::vector<char*> variables;
  for (const std::string& variable : environment) variables.push_back(const_cast<char*>(variable.c_str()));
  variables.push_back(nullptr);
  pid_t pid = 0;
  const int fault =
      ::posix_spawn(&pid, "/bin/sh", &settings.actions, &settings.attributes, arguments.data(), variables.data());
  if (fault != 0) fail(fault, "cannot start /bin/sh");
  running_.insert(pid);
  return pid;
}

std::vector<ChildProcesses::Ended> ChildProcesses::reap() {
  signalfd_siginfo signal;
  while (::read(fd_, &signal, sizeof signal) > 0) {
  }
  std::vector<Ended> ended;
  for (auto each = running_.begin(); each != running_.end();) {
    int status = 0;
    if (::waitpid(*each, &status, WNOHANG) <= 0) {
      ++each;
      continue;
    }
    ended.push_back({*each, status});
    each = running_.erase(each);
  }
  return ended;
}

void ChildProcesses::signal_all(int signal) const {
  for (const pid_t pid : running_) ::kill(-pid, signal);
}

}  // namespace dmq::cli
