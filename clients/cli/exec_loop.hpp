// The loop of `dmq-recv --exec`: a command for each message, acked or given back by its exit code.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "clients/cli/child_processes.hpp"
#include "clients/cli/exec_core.hpp"
#include "clients/cli/interrupt.hpp"
#include "clients/cli/recv_flags.hpp"

namespace dmq::cli {

// One thread; the client is used by nobody else and is made by the loop, because what wakes it is the loop's.
class ExecLoop {
 public:
  ExecLoop(const char* program, const RecvFlags& flags, Interrupt& interrupt);
  ~ExecLoop();
  ExecLoop(const ExecLoop&) = delete;
  ExecLoop& operator=(const ExecLoop&) = delete;

  // Until all is done. Says on standard error how it went; returns the exit code.
  int run();

 private:
  using Clock = std::chrono::steady_clock;

  void ask(Clock::time_point now);
  void on_received(ReceiveResult result);
  void start(Lease message);
  void on_command_end(pid_t pid, int status);
  void ack(Lease message);
  void give_back(Lease message, const NackOptions& how);
  void wait();
  void on_interrupt();
  void stop_for(Failure failure);
  void say(const std::string& text) const;
  int finish() const;

  const char* program_;
  const RecvFlags& flags_;
  Interrupt& interrupt_;
  ExecCore core_;
  ChildProcesses children_;
  std::map<pid_t, Lease> running_;
  std::optional<Failure> failure_;  // why it stopped
  Clock::time_point wait_until_;    // for the next message
  bool waiting_ = false;
  int interrupts_ = 0;
  Clock::time_point kill_at_ = Clock::time_point::max();
  int wake_fd_;                   // epoll: a signal came, or a command has ended
  std::optional<Client> client_;  // last: its callbacks use all of the above
};

}  // namespace dmq::cli
