// One thread that lives by poll: the parts of a program that share it, and how they take turns.
#pragma once

#include <atomic>
#include <vector>
#include <zmq.hpp>

#include "protocol/ids.hpp"
#include "runtime/wakeup.hpp"

namespace dmq {

// A loop's body. All calls come from the reactor's thread.
class Part {
 public:
  virtual ~Part() = default;
  // What turn() reads; asked before each poll.
  virtual void add_poll_items(std::vector<zmq::pollitem_t>& items) = 0;
  // When turn() must be called at the latest, on the steady clock.
  virtual TimeMs next_deadline() const = 0;
  // Takes what waits, bounded. True: something came, perhaps for another part too, so ask all again before a poll.
  virtual bool turn(TimeMs steady_now) = 0;
  // True: this part cannot go on; the reactor ends.
  virtual bool failed() const { return false; }
  // The last call: finish what was taken.
  virtual void end() = 0;
};

// Parts in one thread hand each other messages without waking anybody: where a router and a worker shared one, a
// confirmed send of one message at a time took two wake-ups less. Not thread-safe but for stop().
class Reactor {
 public:
  // Turns are taken in the order in which parts were added, ends in the opposite one. Parts outlive run().
  void add(Part& part) { parts_.push_back(&part); }
  void run();            // until stop(), or until a part failed
  void stop() noexcept;  // from any thread, also before run()

 private:
  void poll();
  bool turn();
  bool any_failed() const;

  std::vector<Part*> parts_;
  std::vector<zmq::pollitem_t> items_;
  Wakeup stop_;
  std::atomic<bool> stopping_{false};
};

}  // namespace dmq
