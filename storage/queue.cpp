// The transitions of the queue core.
#include "storage/queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>

namespace dmq {

void Queue::append(Lsn lsn, std::uint32_t bytes, std::uint32_t deliveries) {
  bytes_ += bytes;
  if (deliveries == 0 && (fresh_.empty() || fresh_.back() < lsn)) {
    fresh_.push_back(lsn);
  } else {
    return_to_ready(lsn, deliveries);
  }
}

std::optional<Lsn> Queue::first_ready() const {
  if (returned_.empty()) return fresh_.empty() ? std::nullopt : std::optional(fresh_.front());
  if (fresh_.empty()) return *returned_.begin();
  return std::min(*returned_.begin(), fresh_.front());
}

Lease Queue::lease_first(TimeMs deadline, std::uint32_t bytes) {
  const Lsn lsn = *first_ready();
  std::uint32_t deliveries = 0;
  if (!returned_.empty() && *returned_.begin() == lsn) {
    returned_.erase(returned_.begin());
    if (const auto known = deliveries_.extract(lsn)) deliveries = known.mapped();
  } else {
    fresh_.pop_front();
  }
  ++last_lease_.value;
  const Lease lease{deadline, last_lease_, deliveries + 1, bytes};
  leases_.emplace(lsn, lease);
  push_deadline({deadline, lsn, lease.number});
  return lease;
}

void Queue::drop_first(std::uint32_t bytes) {
  bytes_ -= bytes;
  const Lsn lsn = *first_ready();
  if (!returned_.empty() && *returned_.begin() == lsn) {
    returned_.erase(returned_.begin());
    deliveries_.erase(lsn);
  } else {
    fresh_.pop_front();
  }
}

std::optional<Lease> Queue::begin_settle(Lsn lsn, LeaseNumber number) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return std::nullopt;
  const Lease lease = found->second;
  leases_.erase(found);
  ++settling_;
  return lease;
}

void Queue::settled(const Lease& lease) {
  --settling_;
  bytes_ -= lease.bytes;
}

void Queue::give_back(Lsn lsn, const Lease& lease, TimeMs ready_at, TimeMs now) {
  --settling_;
  if (ready_at <= now) return return_to_ready(lsn, lease.deliveries);
  deliveries_[lsn] = lease.deliveries;
  delayed_.emplace(ready_at, lsn);
}

void Queue::restore(Lsn lsn, const Lease& lease) {
  --settling_;
  leases_.emplace(lsn, lease);
  push_deadline({lease.deadline, lsn, lease.number});
}

bool Queue::extend(Lsn lsn, LeaseNumber number, TimeMs deadline) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return false;
  found->second.deadline = deadline;
  push_deadline({deadline, lsn, number});
  return true;
}

bool Queue::undo_lease(Lsn lsn, LeaseNumber number) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return false;
  const std::uint32_t before = found->second.deliveries - 1;
  leases_.erase(found);
  return_to_ready(lsn, before);
  return true;
}

void Queue::expire(TimeMs now, std::size_t most, std::vector<Expired>& out) {
  for (std::size_t found = 0; !deadlines_.empty() && deadlines_.front().at <= now && found < most;) {
    const Deadline top = deadlines_.front();
    std::pop_heap(deadlines_.begin(), deadlines_.end());
    deadlines_.pop_back();
    if (!is_live(top)) continue;
    out.push_back({top.lsn, *begin_settle(top.lsn, top.number)});
    ++found;
  }
}

bool Queue::wake_delayed(TimeMs now) {
  bool any = false;
  while (!delayed_.empty() && delayed_.begin()->first <= now) {
    returned_.insert(delayed_.begin()->second);
    delayed_.erase(delayed_.begin());
    any = true;
  }
  return any;
}

std::optional<TimeMs> Queue::next_deadline() const {
  std::optional<TimeMs> next;
  if (!deadlines_.empty()) next = deadlines_.front().at;
  if (!delayed_.empty() && (!next || delayed_.begin()->first < *next)) next = delayed_.begin()->first;
  return next;
}

QueueCounts Queue::counts() const {
  return {fresh_.size() + returned_.size(), leases_.size() + settling_, delayed_.size(), bytes_};
}

std::vector<Lsn> Queue::all() const {
  std::vector<Lsn> lsns(fresh_.begin(), fresh_.end());
  lsns.insert(lsns.end(), returned_.begin(), returned_.end());
  for (const auto& [lsn, lease] : leases_) lsns.push_back(lsn);
  for (const auto& [at, lsn] : delayed_) lsns.push_back(lsn);
  return lsns;
}

void Queue::return_to_ready(Lsn lsn, std::uint32_t deliveries) {
  returned_.insert(lsn);
  if (deliveries > 0) deliveries_[lsn] = deliveries;
}

bool Queue::is_live(const Deadline& deadline) const {
  const auto found = leases_.find(deadline.lsn);
  return found != leases_.end() && found->second.number == deadline.number && found->second.deadline == deadline.at;
}

void Queue::push_deadline(const Deadline& deadline) {
  // Settled leases leave their entries behind; they are swept when they outnumber the live ones.
  if (deadlines_.size() > 2 * leases_.size() + 1024) {
    std::erase_if(deadlines_, [this](const Deadline& entry) { return !is_live(entry); });
    std::make_heap(deadlines_.begin(), deadlines_.end());
  }
  deadlines_.push_back(deadline);
  std::push_heap(deadlines_.begin(), deadlines_.end());
}

void Queue::check_invariants() const {
  const auto must = [](bool holds) {
    if (!holds) std::abort();
  };
  std::set<Lsn> seen;
  for (const Lsn lsn : all()) must(seen.insert(lsn).second);  // I1
  must(std::is_sorted(fresh_.begin(), fresh_.end()));         // I3
  for (const auto& [lsn, count] : deliveries_) must(!leases_.contains(lsn) && count > 0);
  for (const auto& [lsn, lease] : leases_) {
    must(lease.number <= last_lease_ && lease.deliveries > 0);  // I2
    const bool queued = std::any_of(deadlines_.begin(), deadlines_.end(), [&, key = lsn](const Deadline& entry) {
      return entry.lsn == key && is_live(entry);
    });
    must(queued);
  }
}

}  // namespace dmq
