// signalfd and the NOTIFY_SOCKET datagram.
#include "runtime/signals.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <system_error>

namespace dmq {
namespace {

sigset_t daemon_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&set, number);
  return set;
}

}  // namespace

DaemonSignals::DaemonSignals() {
  const sigset_t set = daemon_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

int DaemonSignals::wait(int stop_fd) {
  pollfd items[2] = {{fd_, POLLIN, 0}, {stop_fd, POLLIN, 0}};
  for (;;) {
    if (poll(items, stop_fd < 0 ? 1 : 2, -1) < 0) continue;
    if (items[0].revents != 0) {
      signalfd_siginfo info{};
      if (read(fd_, &info, sizeof info) == sizeof info) return static_cast<int>(info.ssi_signo);
    }
    if (stop_fd >= 0 && items[1].revents != 0) return 0;
  }
}

void end_by_signals() {
  const sigset_t set = daemon_signals();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void explain_bus_errors() {
  struct sigaction action {};
  action.sa_handler = [](int) {
    // Only what is safe in a signal handler.
    constexpr std::string_view kText =
        "dmq: a page of the store could not be read (SIGBUS): the disk fails, or the file was cut short. Stopping; "
        "check the disk, then start again.\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, kText.data(), kText.size());
    _exit(1);
  };
  sigaction(SIGBUS, &action, nullptr);
}

void notify_service_manager(std::string_view state) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address{};
  if (path == nullptr || std::strlen(path) < 2 || std::strlen(path) >= sizeof address.sun_path) return;
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path);
  if (path[0] == '@') address.sun_path[0] = '\0';  // an abstract socket
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), length);
  close(fd);
}

}  // namespace dmq
