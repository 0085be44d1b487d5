// See interrupt.hpp.
#include "clients/cli/interrupt.hpp"

#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>

namespace dmq::cli {

Interrupt::Interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
}

Interrupt::~Interrupt() { ::close(fd_); }

int Interrupt::take() {
  int signals = 0;
  signalfd_siginfo signal;
  while (came() && ::read(fd_, &signal, sizeof signal) > 0) ++signals;
  return signals;
}

bool Interrupt::came() const {
  pollfd item{fd_, POLLIN, 0};
  return ::poll(&item, 1, 0) == 1;
}

}  // namespace dmq::cli
