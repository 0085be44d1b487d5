// See command.hpp.
#include "tests/cluster/command.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace dmq::cluster {
namespace {

[[noreturn]] void become(const Command& command, char* const* arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (command.network >= 0 && ::setns(command.network, CLONE_NEWNET) != 0) ::_exit(126);
  if (!command.output.empty()) {
    const int out = ::open(command.output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (out < 0 || ::dup2(out, STDOUT_FILENO) < 0 || ::dup2(out, STDERR_FILENO) < 0) ::_exit(126);
  }
  ::execv(arguments[0], arguments);
  ::_exit(127);
}

// Administrators' tools are in directories that an ordinary user's PATH lacks.
std::string path_of(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  for (const char* directory : {"/usr/sbin/", "/sbin/", "/usr/bin/", "/bin/"}) {
    if (::access((directory + program).c_str(), X_OK) == 0) return directory + program;
  }
  return program;
}

}  // namespace

int run_command(const Command& command) {
  std::vector<std::string> arguments = command.arguments;
  arguments[0] = path_of(arguments[0]);
  std::vector<char*> pointers;
  pointers.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return -1;
  if (child == 0) become(command, pointers.data());
  pollfd end{static_cast<int>(::syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  if (::poll(&end, 1, static_cast<int>(command.patience.count())) <= 0) ::kill(child, SIGKILL);
  ::close(end.fd);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace dmq::cluster
