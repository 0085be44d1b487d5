// How far a long command is, on a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace dmq::cli {

// A line of standard error that is written over, a few times a second. On no terminal, or when it is not `wanted`,
// there is none.
class Progress {
 public:
  // "1,234 messages sent", for `done` = "sent".
  Progress(std::string done, bool wanted);
  void show(std::uint64_t messages);
  // "1.2 MiB copied", for `what` = "1.2 MiB".
  void show_text(const std::string& what);
  void clear();

 private:
  const std::string done_;
  const bool shown_;
  bool wrote_ = false;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace dmq::cli
