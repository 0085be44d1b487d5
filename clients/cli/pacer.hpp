// When the next message of `dmq-send --rate` is due.
#pragma once

#include <chrono>

namespace dmq::cli {

// Pure state. Messages are due evenly; a sender that comes late by more than a moment does not make up for it with a
// burst.
class Pacer {
 public:
  using Clock = std::chrono::steady_clock;

  // `rate`: messages a second; 0: they are due at once.
  Pacer(double rate, Clock::time_point start);

  Clock::time_point due() const { return due_; }
  void on_sent(Clock::time_point now);

 private:
  Clock::duration interval_;
  Clock::time_point due_;
};

}  // namespace dmq::cli
