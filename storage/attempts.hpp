// What receives with an attempt id got, so that a repeat of one gets the same.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/given_lease.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

inline constexpr std::size_t kAttemptsMax = 10'000;  // of one worker; the oldest one is forgotten for one more

// Knows no clock and no I/O. Not thread-safe. An attempt is remembered for as long as its leases were to last.
class Attempts {
 public:
  void put(const QueuePlace& queue, std::string_view attempt, std::vector<GivenLease> leases, TimeMs until);
  // What it got; null: nothing is known of it.
  const std::vector<GivenLease>* find(const QueuePlace& queue, std::string_view attempt, TimeMs now);
  // It is told once more: who does not get this reply may have got the other.
  void tell_again(const QueuePlace& queue, std::string_view attempt);
  bool is_told_again(const QueuePlace& queue, const GivenLease& lease) const;  // O(attempts of the queue)
  std::size_t size() const { return known_.size(); }

 private:
  using Key = std::pair<QueuePlace, std::string>;
  struct Got {
    std::vector<GivenLease> leases;
    TimeMs until;
    bool told_again = false;
  };
  void forget(TimeMs now);

  std::map<Key, Got> known_;
  std::set<std::pair<TimeMs, Key>> by_end_;
};

}  // namespace dmq
