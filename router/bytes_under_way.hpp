// How many bytes of requests are on their way to one worker, so that they can be bounded.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dmq {

// Counts as TCP does. A request's position is the number of the last of its bytes among all that were ever sent to the
// worker. The position travels with the request, comes back with its reply, and tells that all requests up to there
// were read. So the next reply makes up for one that was lost, and a reply that is late or comes twice changes nothing.
//
//        heard                sent
//   -------|===================|-------> positions, modulo 2^32
//             bytes()
//
// Knows no socket. Not thread-safe.
//
// B1  bytes() is at most what was sent since the last reset.
// LIMIT: a worker answers some requests (a refusal, queue.describe) before the sends that wait for its commit; these
// count no more then. It reads two turns of 64 MiB ahead of its commits, so bytes() is that much too small at most.
// LIMIT: a worker that drops replies, because 10,000 wait for this router, is believed to work on them until it answers
// a later request or the connection breaks.
class BytesUnderWay {
 public:
  // Of what may stay unanswered for long, and so is not counted: a receive. Comes up by chance once in 4 GiB: that
  // reply tells nothing, and the next one does.
  static constexpr std::uint32_t kNoPosition = 0;

  // REQUIRES: `bytes_max` and the largest request are below 2^31 together.
  explicit BytesUnderWay(std::uint32_t bytes_max) : bytes_max_(bytes_max) {}

  std::uint32_t bytes() const { return sent_ - heard_; }
  // A request that is alone always has room.
  bool has_room(std::size_t bytes) const;
  // Of a request of so many bytes, if it is the next to be sent.
  std::uint32_t position_behind(std::size_t bytes) const { return sent_ + static_cast<std::uint32_t>(bytes); }
  void sent(std::size_t bytes) { sent_ += static_cast<std::uint32_t>(bytes); }
  // A reply came, or a request was handed back.
  void returned(std::uint32_t position);
  // The connection broke: no reply to what is under way will come.
  void reset() { heard_ = sent_; }

 private:
  const std::uint32_t bytes_max_;
  std::uint32_t sent_ = 0;
  std::uint32_t heard_ = 0;
};

}  // namespace dmq
