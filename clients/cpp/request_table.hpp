// The requests of a client, other than sends, that wait for their replies.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dmq/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// What came back for a request.
struct Reply {
  std::optional<Failure> failure;
  std::string_view payload;  // valid as long as `owner`
  std::shared_ptr<const void> owner;
  bool repeated = false;  // the request went out more than once
};

struct Request {
  std::uint64_t id = 0;
  std::string header;
  std::shared_ptr<const std::string> payload;  // null: none
  DurationMs answer_within;                    // from each try; a parked receive's wait included
  DurationMs reach_within;                     // gives up when no broker could take it for so long
  TimeMs give_up_at;                           // in any case
  bool parked = false;                         // a receive: nothing is lost when its reply never comes
  std::function<void(const Reply&)> done;      // called once

  // Written by the table.
  bool in_flight = false;
  int tries = 0;
  std::optional<Failure> last_answer;  // why the broker asked for a retry
  TimeMs sent_at;
  TimeMs not_before;
  TimeMs reach_by;  // counts while it waits to go out

  TimeMs deadline() const { return in_flight ? give_up_at : std::min(reach_by, give_up_at); }
};

// Pure state: times come in, requests to put on the wire go out. Not thread-safe.
//
//   add --> WAITING -- next_request --> IN FLIGHT -- take --> (the caller's)
//              ^------- link lost, retry -----'
//
// A repeat keeps its id: every operation here may be repeated, and any of its replies will do. Searched from the
// oldest on, which is where most replies belong; a client has tens of requests under way, not thousands.
class RequestTable {
 public:
  void add(Request request, TimeMs now);
  // The next request to put on the wire, in flight from now on; null: none is due.
  const Request* next_request(TimeMs now);
  // The link refused the request that next_request gave last.
  void take_back(std::uint64_t id);
  // Removes and returns the request with this id.
  std::optional<Request> take(std::uint64_t id);
  // Puts a taken request back after the broker asked for a retry.
  void retry_later(Request request, TimeMs now);
  void on_link_lost(TimeMs now);
  // Removes one request that ran out of time.
  std::optional<Request> take_expired(TimeMs now);
  // Removes any one request; for a client that closes.
  std::optional<Request> take_any();

  bool is_late(TimeMs now) const;
  std::optional<TimeMs> next_deadline() const;
  bool empty() const { return requests_.empty(); }
  // Is nothing under way but receives?
  bool only_parked() const;

 private:
  std::deque<Request> requests_;
};

}  // namespace dmq
