// See progress.hpp.
#include "clients/cli/progress.hpp"

#include <unistd.h>

#include <iostream>

#include "clients/cli/session.hpp"

namespace dmq::cli {

Progress::Progress(std::string done, bool wanted)
    : done_(std::move(done)),
      shown_(wanted && is_terminal(STDERR_FILENO)),
      next_(std::chrono::steady_clock::now() + std::chrono::milliseconds(500)) {}

void Progress::show(std::uint64_t messages) { show_text(counted(messages, "message")); }

void Progress::show_text(const std::string& what) {
  if (!shown_) return;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(200);
  std::cerr << "\r" << what << " " << done_ << "\033[K" << std::flush;
  wrote_ = true;
}

void Progress::clear() {
  if (wrote_) std::cerr << "\r\033[K" << std::flush;
}

}  // namespace dmq::cli
