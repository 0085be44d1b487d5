// One program of dmq as a child process that can be killed and started again at the same place.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dmq::support {

// A port of the loopback interface that is free now, outside the range from which the system takes the ports of
// outgoing connections: a client that connects again and again to a dead port inside that range can meet itself.
std::uint16_t free_port();

// The whole path of a program that lies beside this one.
std::string program_beside(const std::string& name);

// How a child ends when its parent does, by a crash too.
enum class WithParent { kKilled, kEnded };

// What a child has around it that its parent has not.
struct Surroundings {
  int network = -1;                    // descriptor of a network namespace, not owned; -1: the parent's
  std::vector<std::string> variables;  // "NAME=VALUE" of its environment
};

// Not thread-safe. The child ends with its parent.
class Daemon {
 public:
  // `arguments`: the program's path first. What it says is appended to `log_path`; empty: to our standard error.
  Daemon(std::string name, std::vector<std::string> arguments, std::string log_path,
         WithParent with_parent = WithParent::kKilled);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // For all starts that follow.
  void surround(Surroundings surroundings) { surroundings_ = std::move(surroundings); }
  // REQUIRES: it does not run.
  void start();
  // SIGKILL, and waits for the end. Returns false when it had ended by itself before: see ended_how().
  bool kill();
  // SIGTERM; the exit code, 128 + signal when it was ended by one, 137 when it had to be killed after `patience`.
  int stop(std::chrono::milliseconds patience = std::chrono::seconds(15));
  // Waits until it has printed that it listens; false when it does not in time, or has ended.
  bool await_listening(std::chrono::milliseconds patience = std::chrono::seconds(20));

  // What it printed that it listens on; empty before await_listening().
  const std::string& endpoint() const { return endpoint_; }
  bool running() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  // Becomes readable when the child has ended.
  int end_fd() const { return end_fd_; }
  const std::string& name() const { return name_; }
  // "exit code 1" or "signal 6", of the last end.
  const std::string& ended_how() const { return ended_how_; }

 private:
  // Reaps the child when it has ended within `patience`; its code, or -1.
  int wait_for_end(std::chrono::milliseconds patience);

  const std::string name_;
  const std::vector<std::string> arguments_;
  const std::string log_path_;
  const WithParent with_parent_;
  Surroundings surroundings_;
  pid_t pid_ = -1;
  int output_ = -1;  // its standard output
  int end_fd_ = -1;  // pidfd: readable when the child has ended
  std::string endpoint_;
  std::string ended_how_;
};

}  // namespace dmq::support
