// Poll, turn, and again without a poll while messages move.
#include "runtime/reactor.hpp"

#include <algorithm>

#include "runtime/clock.hpp"

namespace dmq {
namespace {

constexpr DurationMs kPollAtLeastEvery{1000};

}  // namespace

void Reactor::run() {
  while (!stopping_ && !any_failed()) {
    poll();
    while (turn() && !stopping_ && !any_failed()) {
    }
  }
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) (*part)->end();
}

void Reactor::stop() noexcept {
  stopping_ = true;
  stop_.raise();
}

void Reactor::poll() {
  items_.clear();
  items_.push_back({nullptr, stop_.fd(), ZMQ_POLLIN, 0});
  const TimeMs now = steady_now();
  TimeMs wake = now + kPollAtLeastEvery;
  for (Part* part : parts_) {
    part->add_poll_items(items_);
    wake = std::min(wake, part->next_deadline());
  }
  zmq::poll(items_, std::chrono::milliseconds(std::max<std::int64_t>(0, (wake - now).value)));
}

bool Reactor::turn() {
  const TimeMs now = steady_now();
  bool moved = false;
  for (Part* part : parts_) moved |= part->turn(now);
  return moved;
}

bool Reactor::any_failed() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const Part* part) { return part->failed(); });
}

}  // namespace dmq
