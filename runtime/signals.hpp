// Signals as a daemon takes them, and readiness told to the service manager.
#pragma once

#include <string_view>

namespace dmq {

// Blocks SIGTERM, SIGINT, SIGHUP and SIGUSR1 in this thread and in those that it starts, so that only wait() sees
// them. Make it first in main, before any thread.
class DaemonSignals {
 public:
  DaemonSignals();
  // The next of these signals, or 0 when `stop_fd` (if not -1) became readable first.
  int wait(int stop_fd = -1);

 private:
  int fd_;
};

// A program that does a job instead of serving: the signals that DaemonSignals blocks in this thread end it again.
void end_by_signals();

// From now on a page of a mapped store that the disk cannot give ends the process with one plain line and status 1,
// where the system's default is death by SIGBUS without a word.
void explain_bus_errors();

// Sends `state` ("READY=1", "RELOADING=1", "STOPPING=1") as systemd's Type=notify expects. Without NOTIFY_SOCKET it
// does nothing.
void notify_service_manager(std::string_view state);

}  // namespace dmq
