// What `dmq-recv --exec` does next: how many messages to ask for, when it is over, how it went.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dmq::cli {

// What became of a message.
enum class ExecOutcome {
  kDone,    // its command succeeded, and the ack is confirmed
  kFailed,  // it went back
  kLost,    // its command succeeded, but the lease was over: another receiver has or had it
};

struct ExecTally {
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t lost = 0;

  std::uint64_t all() const { return done + failed + lost; }
  // 0: all done, 3: there was none, 1: none done, 7: a part.
  int exit_code() const;
  // "3 messages done, 1 given back"
  std::string text() const;
};

// Pure state, not thread-safe.
//
//   TAKING -- enough messages, nothing came in time, stop() --> ENDING -- the last message is settled --> finished
//
// One request for messages is under way at a time, for as many as commands may start.
class ExecCore {
 public:
  // At most so many messages in all, and so many at once.
  ExecCore(std::uint64_t messages_max, std::size_t concurrency)
      : messages_max_(messages_max), concurrency_(concurrency) {}

  // How many messages to ask for now; 0: none.
  std::size_t wanted() const;
  void on_asked() { asked_ = true; }
  // The answer: so many messages, not more than were wanted. Their commands run now.
  void on_received(std::size_t messages);
  void on_settled(ExecOutcome outcome);
  // No more messages are taken.
  void stop() { stopped_ = true; }

  bool stopped() const { return stopped_; }
  // Messages whose commands run or whose acks are under way.
  std::size_t open() const { return static_cast<std::size_t>(taken_ - tally_.all()); }
  bool finished() const;
  const ExecTally& tally() const { return tally_; }

 private:
  const std::uint64_t messages_max_;
  const std::size_t concurrency_;
  std::uint64_t taken_ = 0;
  bool asked_ = false;
  bool stopped_ = false;
  ExecTally tally_;
};

}  // namespace dmq::cli
