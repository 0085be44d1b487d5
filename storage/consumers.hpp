// Consumers that name themselves: what they hold, and until when the next sign of them is awaited.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/error.hpp"
#include "storage/given_lease.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

inline constexpr std::size_t kConsumersMax = 10'000;  // of one worker

// Knows no clock and no I/O. Not thread-safe. A consumer that said how long it is silent at the most is gone when it is
// silent for longer; any other is forgotten when its last lease is over.
class Consumers {
 public:
  using Lasts = std::function<bool(const GivenLease&)>;

  // A sign of life, that holds until then. `silence`: at most so long from there to the next; none: as it said before.
  // Errors: unavailable: too many.
  Result<void> heard(const QueuePlace& queue, std::string_view name, std::optional<DurationMs> silence, TimeMs until);
  // What it got leaves for it now, which is as good as a sign.
  void reached(const QueuePlace& queue, std::string_view name, TimeMs now);
  // It got these now, for so long; `lasts` tells of those before. REQUIRES: it was heard.
  void took(const QueuePlace& queue, std::string_view name, const std::vector<GivenLease>& leases, TimeMs now,
            DurationMs lease, const Lasts& lasts);
  // How many of its leases last.
  std::size_t holds(const QueuePlace& queue, std::string_view name, const Lasts& lasts);

  struct Gone {
    QueuePlace queue;
    std::vector<GivenLease> held;  // also what was settled meanwhile
  };
  // Those who were silent for too long by `now`; they are forgotten.
  std::vector<Gone> gone(TimeMs now);
  std::optional<TimeMs> next_deadline() const;
  std::size_t size() const { return known_.size(); }

 private:
  using Key = std::pair<QueuePlace, std::string>;
  struct Consumer {
    std::optional<DurationMs> silence;
    TimeMs deadline;
    std::vector<GivenLease> held;
    std::size_t sweep_at = 64;
  };
  void set_deadline(const Key& key, Consumer& consumer, TimeMs deadline);

  std::map<Key, Consumer> known_;
  std::set<std::pair<TimeMs, Key>> by_deadline_;
};

}  // namespace dmq
