// Consumers that said how long they are silent at the most: when the next sign of each is to go out.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/ids.hpp"

namespace dmq {

// A request that is to go out: the consumer of the queue is there.
struct Heartbeat {
  std::string queue;
  std::string consumer;
  DurationMs silence;  // as it said
};

// Pure state: times come in, requests to put on the wire go out. Not thread-safe. Each consumer:
//
//   note_sign --> QUIET -- a third of the silence is over --> UNDER WAY -- answered, or given up --> QUIET
//                   ^-- note_sign --'                           '-- refused for good: forgotten
//
// LIMIT: each call looks at all consumers; a client has a few of them.
class HeartbeatTable {
 public:
  // A request goes out that names the consumer and its silence. REQUIRES: a silence of more than 0.
  void note_sign(std::string_view queue, std::string_view consumer, DurationMs silence, TimeMs now);
  // The next request to put on the wire; it is under way until one of the calls below.
  std::optional<Heartbeat> next_due(TimeMs now);
  void on_answer(const Heartbeat& heartbeat);
  // No answer, or a refusal; `again`: one that may be otherwise later.
  void on_failure(const Heartbeat& heartbeat, bool again, TimeMs now);

  std::optional<TimeMs> next_deadline() const;
  void clear() { consumers_.clear(); }

 private:
  struct Entry {
    DurationMs silence;
    TimeMs due;
    TimeMs asked_at;  // of the request under way
    bool under_way = false;
  };

  std::map<std::pair<std::string, std::string>, Entry> consumers_;  // by queue and name
};

}  // namespace dmq
