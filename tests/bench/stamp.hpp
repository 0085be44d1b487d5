// What the benchmark writes into its messages, and the proof that each arrived once with its own bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dmq::bench {

inline constexpr std::size_t kStampBytes = 16;  // the least size of a message

// Names one message of one run; fits into 64 bits: 16 of the run, 12 of the producer, 36 of the number.
struct MessageName {
  std::uint16_t run = 0;
  std::uint16_t producer = 0;
  std::uint64_t number = 0;  // of this producer, from 0
};

// Writes the time, the name, and words derived from the name: every 512 bytes and at the end.
void write_stamp(std::string& body, const MessageName& name, std::int64_t time_ns);

struct Stamp {
  MessageName name;
  std::int64_t time_ns = 0;
  bool intact = false;  // right length, and all derived words are there
};
Stamp read_stamp(std::string_view body, std::size_t size_expected);

// How often the messages of a run arrived. Filled after the run, from what each consumer noted.
class Arrivals {
 public:
  explicit Arrivals(const std::vector<std::uint64_t>& sent_per_producer);
  void note(std::uint16_t producer, std::uint64_t number);
  // A send that was not confirmed: it may arrive or not.
  void excuse(std::uint16_t producer, std::uint64_t number);

  std::uint64_t lost() const;
  std::uint64_t duplicated() const { return duplicated_; }
  std::uint64_t invented() const { return invented_; }  // names that nobody sent

 private:
  std::vector<std::vector<std::uint8_t>> seen_;  // 0: no, 1: yes, 2: excused
  std::uint64_t duplicated_ = 0;
  std::uint64_t invented_ = 0;
};

}  // namespace dmq::bench
