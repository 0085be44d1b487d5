// Leases that are renewed while they are held: what is to be renewed when, and which are lost.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dmq/message.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// The leases of one receive.
struct RenewalBatch {
  std::string queue;
  DurationMs lease;
  std::map<std::string, std::string, std::less<>> held;  // receipt and message id
  std::function<void(const LostLease&)> on_lost;         // once for each that is lost; may be empty
};

// A request that is to go out: extend these receipts by `lease`.
struct Renewal {
  std::uint64_t batch = 0;
  std::string queue;
  DurationMs lease;
  std::vector<std::string> receipts;
};

// Leases to tell their holder of; by the loop, because callbacks are its business.
struct LostLeases {
  std::function<void(const LostLease&)> on_lost;
  std::vector<LostLease> leases;
};

// Pure state: times come in, requests to put on the wire go out. Not thread-safe. Each batch:
//
//   add --> HELD -- half of the lease is over --> RENEWING -- renewed --> HELD
//              ^---------- failed: soon again ------'  '-- stale receipt, a failure for good, or
//                                                          the lease's time is over: lost
//
// A receipt leaves when it is dropped (settled or released) or lost, a batch with its last receipt.
// LIMIT: each call looks at all batches; a client holds tens of them, not thousands.
class RenewalTable {
 public:
  // `began`: not later than the leases themselves did.
  void add(std::uint64_t id, RenewalBatch batch, TimeMs began);
  // The lease ended otherwise. A receipt that is not there is passed over.
  void drop(std::uint64_t id, std::string_view receipt);
  // The next request to put on the wire; the batch is under way until it is answered.
  std::optional<Renewal> next_due(TimeMs now);

  // The broker answered; `stale` are those whose lease was over. All others last `lease` from when they were sent.
  LostLeases on_answer(std::uint64_t id, const std::vector<std::string>& stale);
  // No answer, or a refusal: tried again until the lease's time is over, unless the failure is for good.
  LostLeases on_failure(std::uint64_t id, const Failure& failure, TimeMs now);
  // One batch whose time ended while its renewal was under way.
  LostLeases take_expired(TimeMs now);

  std::optional<TimeMs> next_deadline() const;
  bool empty() const { return batches_.empty(); }
  void clear() { batches_.clear(); }

 private:
  struct Entry {
    RenewalBatch batch;
    TimeMs due;
    TimeMs ends;      // of the leases, at the earliest
    TimeMs asked_at;  // of the renewal under way
    bool under_way = false;
    bool asked = false;  // since the last renewal
  };

  LostLeases lose_all(std::uint64_t id, const Failure& failure);

  std::map<std::uint64_t, Entry> batches_;
};

}  // namespace dmq
