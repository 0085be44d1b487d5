// The transitions of the queue core.
#include "storage/queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>

#include "storage/log_keys.hpp"

namespace dmq {

void Queue::append(Lsn lsn, std::uint32_t bytes, std::uint32_t deliveries) {
  bytes_ += bytes;
  stored_ += stored_bytes(bytes);
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
    skip_gone();
  }
  ++last_lease_.value;
  const Lease lease{deadline, last_lease_, deliveries + 1, bytes};
  leases_.emplace(lsn, lease);
  push_deadline({deadline, lsn, lease.number});
  return lease;
}

void Queue::drop_first(std::uint32_t bytes) {
  bytes_ -= bytes;
  take_out(*first_ready());
}

std::optional<Lease> Queue::begin_settle(Lsn lsn, LeaseNumber number) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return std::nullopt;
  return settling_.insert(leases_.extract(found)).position->second;
}

void Queue::restore(Lsn lsn) {
  const auto found = settling_.find(lsn);
  if (found == settling_.end()) return;
  const auto lease = leases_.insert(settling_.extract(found)).position;
  push_deadline({lease->second.deadline, lsn, lease->second.number});
}

bool Queue::remove(Lsn lsn, std::uint32_t bytes) {
  if (!take_out(lsn)) return false;
  bytes_ -= bytes;
  stored_ -= stored_bytes(bytes);
  return true;
}

bool Queue::give_back(Lsn lsn, std::uint32_t deliveries, TimeMs ready_at, TimeMs now) {
  if (!take_out(lsn)) return false;
  if (ready_at <= now) {
    return_to_ready(lsn, deliveries);
    return true;
  }
  deliveries_[lsn] = deliveries;
  delayed_.emplace(ready_at, lsn);
  delayed_until_.emplace(lsn, ready_at);
  return true;
}

void Queue::end_leases() {
  for (const auto& [lsn, lease] : leases_) return_to_ready(lsn, lease.deliveries - 1);
  for (const auto& [lsn, lease] : settling_) return_to_ready(lsn, lease.deliveries - 1);
  leases_.clear();
  settling_.clear();
  deadlines_.clear();
}

Queue::Returned Queue::returned(Lsn lsn) const {
  for (const auto* leases : {&settling_, &leases_}) {
    if (const auto lease = leases->find(lsn); lease != leases->end()) return {lease->second.deliveries - 1, {}};
  }
  const auto count = deliveries_.find(lsn);
  if (count == deliveries_.end()) return {};
  const auto delayed = delayed_until_.find(lsn);
  return {count->second, delayed == delayed_until_.end() ? std::nullopt : std::optional(delayed->second)};
}

// Out of whatever state it is in.
bool Queue::take_out(Lsn lsn) {
  if (settling_.erase(lsn) > 0 || leases_.erase(lsn) > 0) return true;
  deliveries_.erase(lsn);
  if (returned_.erase(lsn) > 0) return true;
  if (const auto delayed = delayed_until_.find(lsn); delayed != delayed_until_.end()) {
    delayed_.erase({delayed->second, lsn});
    delayed_until_.erase(delayed);
    return true;
  }
  if (!is_fresh(lsn)) return false;
  gone_.insert(lsn);
  skip_gone();
  return true;
}

bool Queue::holds(Lsn lsn) const {
  return settling_.contains(lsn) || leases_.contains(lsn) || returned_.contains(lsn) || delayed_until_.contains(lsn) ||
         is_fresh(lsn);
}

bool Queue::is_fresh(Lsn lsn) const {
  return std::binary_search(fresh_.begin(), fresh_.end(), lsn) && !gone_.contains(lsn);
}

void Queue::skip_gone() {
  while (!fresh_.empty() && !gone_.empty() && gone_.erase(fresh_.front()) > 0) fresh_.pop_front();
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
    delayed_until_.erase(delayed_.begin()->second);
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
  return {fresh_.size() - gone_.size() + returned_.size(), leases_.size() + settling_.size(), delayed_.size(), bytes_,
          stored_};
}

std::vector<Lsn> Queue::all() const {
  std::vector<Lsn> lsns;
  std::copy_if(fresh_.begin(), fresh_.end(), std::back_inserter(lsns), [&](Lsn lsn) { return !gone_.contains(lsn); });
  lsns.insert(lsns.end(), returned_.begin(), returned_.end());
  for (const auto& [lsn, lease] : leases_) lsns.push_back(lsn);
  for (const auto& [lsn, lease] : settling_) lsns.push_back(lsn);
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
  must(delayed_.size() == delayed_until_.size());
  must(gone_.empty() || !gone_.contains(fresh_.front()));
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
