// A flag that another thread raises and a poll loop sees: an eventfd.
#pragma once

namespace dmq {

// raise() from any thread (and from a signal handler); the rest from the loop that owns it.
class Wakeup {
 public:
  Wakeup();
  ~Wakeup();
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;

  void raise() noexcept;
  void clear() noexcept;  // after poll said that fd() is readable
  int fd() const { return fd_; }

 private:
  int fd_;
};

}  // namespace dmq
