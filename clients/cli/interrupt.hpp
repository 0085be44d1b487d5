// Ctrl-C and SIGTERM as a descriptor that poll loops watch.
#pragma once

namespace dmq::cli {

// Blocks SIGINT and SIGTERM in this thread and those that it starts, and ignores SIGPIPE, so that a closed pipe is an
// error of write. Make it first in main.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int fd() const { return fd_; }  // readable once a signal came, until it is taken
  bool came() const;
  // How many signals came since the last call; the same one twice may count once.
  int take();

 private:
  int fd_;
};

}  // namespace dmq::cli
