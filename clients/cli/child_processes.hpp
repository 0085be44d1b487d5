// Commands that run beside this program, and a descriptor that tells when one has ended.
#pragma once

#include <sys/types.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace dmq::cli {

// Blocks SIGCHLD in this thread and those that it starts. Those children that still run when it is destroyed go on.
class ChildProcesses {
 public:
  struct Ended {
    pid_t pid;
    int status;  // as waitpid gives it
  };

  ChildProcesses();
  ~ChildProcesses();
  ChildProcesses(const ChildProcesses&) = delete;
  ChildProcesses& operator=(const ChildProcesses&) = delete;

  int fd() const { return fd_; }  // readable when children ended that reap() did not report
  // Starts `/bin/sh -c command` in a process group of its own, which a terminal's Ctrl-C does not reach, with `input`
  // as a file on its standard input. Throws std::system_error.
  pid_t start(const std::string& command, std::string_view input, const std::vector<std::string>& environment);
  std::vector<Ended> reap();
  // To the process groups of all that run.
  void signal_all(int signal) const;

 private:
  int fd_;
  std::set<pid_t> running_;
};

}  // namespace dmq::cli
