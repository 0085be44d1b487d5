// The transitions of the queue core.
#include "storage/queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>

#include "storage/log_keys.hpp"

namespace dmq {

void Queue::append(Lsn lsn, const Arrival& arrival, TimeMs now) {
  bytes_ += arrival.bytes;
  stored_ += stored_bytes(arrival.bytes);
  if (arrival.deliveries > 0) deliveries_[lsn] = arrival.deliveries;
  if (arrival.ready_at > now) {
    delayed_.add(lsn, arrival.priority, arrival.ready_at, arrival.deliveries == 0);
  } else if (arrival.deliveries == 0) {
    ready_.append(lsn, arrival.priority);
  } else {
    ready_.put_back(lsn, arrival.priority);
  }
  if (arrival.expires_at) expire_at(lsn, *arrival.expires_at);
}

std::optional<Lsn> Queue::first_ready() const {
  const auto first = ready_.first();
  return first ? std::optional(first->lsn) : std::nullopt;
}

Lease Queue::lease_first(TimeMs deadline, std::uint32_t bytes) {
  const auto [lsn, priority] = *ready_.first();
  ready_.pop();
  std::uint32_t deliveries = 0;
  if (!deliveries_.empty()) {
    if (const auto known = deliveries_.extract(lsn)) deliveries = known.mapped();
  }
  ++last_lease_.value;
  const Lease lease{deadline, last_lease_, deliveries + 1, bytes, priority};
  leases_.emplace(lsn, lease);
  push_deadline({deadline, lsn, lease.number});
  return lease;
}

std::optional<Lease> Queue::begin_settle(Lsn lsn, LeaseNumber number) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return std::nullopt;
  return settling_.insert(leases_.extract(found)).position->second;
}

void Queue::restore(Lsn lsn) {
  const auto found = settling_.find(lsn);
  if (found == settling_.end()) return;
  if (found->second.number.value == 0) {
    expired_.insert(lsn);  // it is expired all the same
    return;
  }
  const auto lease = leases_.insert(settling_.extract(found)).position;
  push_deadline({lease->second.deadline, lsn, lease->second.number});
}

bool Queue::remove(Lsn lsn, std::uint32_t bytes) {
  if (!take_out(lsn)) return false;
  if (!overdue_.empty()) overdue_.erase(lsn);
  bytes_ -= bytes;
  stored_ -= stored_bytes(bytes);
  return true;
}

void Queue::set_aside(Lsn lsn) {
  take_out(lsn);
  overdue_.erase(lsn);
}

bool Queue::give_back(Lsn lsn, std::uint32_t deliveries, TimeMs ready_at, TimeMs now) {
  const auto priority = take_out(lsn);
  if (!priority) return false;
  if (ready_at <= now) {
    return_to_ready(lsn, deliveries, *priority);
  } else {
    deliveries_[lsn] = deliveries;
    delayed_.add(lsn, *priority, ready_at, false);
    came_back(lsn);
  }
  return true;
}

void Queue::end_leases() {
  for (const auto& [lsn, lease] : leases_) return_to_ready(lsn, lease.deliveries - 1, lease.priority);
  for (const auto& [lsn, lease] : settling_) return_to_ready(lsn, lease.deliveries - 1, lease.priority);
  // What expired was not settled in this term; the next one looks again.
  for (const auto& [lsn, lease] : settling_) {
    if (lease.number.value == 0) expire_at(lsn, TimeMs{});
  }
  leases_.clear();
  settling_.clear();
  deadlines_.clear();
  expired_.clear();
}

Queue::Returned Queue::returned(Lsn lsn) const {
  for (const auto* leases : {&settling_, &leases_}) {
    if (const auto lease = leases->find(lsn); lease != leases->end()) return {lease->second.deliveries - 1, {}};
  }
  const auto count = deliveries_.find(lsn);
  if (count == deliveries_.end()) return {};
  return {count->second, delayed_.ready_at(lsn)};
}

std::optional<Priority> Queue::take_out(Lsn lsn) {
  for (auto* leases : {&settling_, &leases_}) {
    const auto lease = leases->find(lsn);
    if (lease == leases->end()) continue;
    const Priority priority = lease->second.priority;
    if (lease->second.number.value == 0) {
      expired_.erase(lsn);
      overdue_.insert(lsn);  // should it come back
    }
    leases->erase(lease);
    return priority;
  }
  if (!deliveries_.empty()) deliveries_.erase(lsn);
  if (const auto priority = ready_.remove(lsn)) return priority;
  return delayed_.remove(lsn);
}

bool Queue::holds(Lsn lsn) const {
  return settling_.contains(lsn) || leases_.contains(lsn) || ready_.contains(lsn) || delayed_.contains(lsn);
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
  const auto [deadline, own_number, deliveries, bytes, priority] = found->second;
  leases_.erase(found);
  return_to_ready(lsn, deliveries - 1, priority);
  return true;
}

void Queue::return_to_ready(Lsn lsn, std::uint32_t deliveries, Priority priority) {
  ready_.put_back(lsn, priority);
  if (deliveries > 0) deliveries_[lsn] = deliveries;
  came_back(lsn);
}

// --- time ------------------------------------------------------------------------------------------------------------

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

bool Queue::wake(TimeMs now) {
  bool any = false;
  while (const auto woken = delayed_.wake(now)) {
    deliveries_.contains(woken->lsn) ? ready_.put_back(woken->lsn, woken->priority)
                                     : ready_.append(woken->lsn, woken->priority);
    any = true;
  }
  while (!expiries_.empty() && expiries_.front().at <= now) {
    const Lsn lsn = expiries_.front().lsn;
    std::pop_heap(expiries_.begin(), expiries_.end());
    expiries_.pop_back();
    if (leases_.contains(lsn) || settling_.contains(lsn)) {
      overdue_.insert(lsn);
    } else {
      expire_message(lsn);
    }
  }
  return any;
}

// False: it is gone.
bool Queue::expire_message(Lsn lsn) {
  const auto before = deliveries_.find(lsn);
  const std::uint32_t deliveries = before == deliveries_.end() ? 0 : before->second;
  const auto priority = take_out(lsn);
  if (!priority) return false;
  settling_.emplace(lsn, Lease{{}, {}, deliveries + 1, 0, *priority});
  expired_.insert(lsn);
  return true;
}

// A message that can be handed out again, and whose time may have come meanwhile.
void Queue::came_back(Lsn lsn) {
  if (!overdue_.empty() && overdue_.erase(lsn) > 0) expire_at(lsn, TimeMs{});
}

void Queue::take_expired(std::size_t most, std::vector<Lsn>& out) {
  for (; !expired_.empty() && out.size() < most; expired_.erase(expired_.begin())) out.push_back(*expired_.begin());
}

std::optional<TimeMs> Queue::next_deadline() const {
  if (!expired_.empty()) return TimeMs{};
  std::optional<TimeMs> next = delayed_.next();
  for (const auto* heap : {&deadlines_, &expiries_}) {
    if (!heap->empty() && (!next || heap->front().at < *next)) next = heap->front().at;
  }
  return next;
}

QueueCounts Queue::counts() const {
  return {ready_.size(), leases_.size() + settling_.size(), delayed_.size(), bytes_, stored_};
}

std::vector<Lsn> Queue::all() const {
  std::vector<Lsn> lsns;
  ready_.all(lsns);
  delayed_.all(lsns);
  for (const auto& [lsn, lease] : leases_) lsns.push_back(lsn);
  for (const auto& [lsn, lease] : settling_) lsns.push_back(lsn);
  return lsns;
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

// As push_deadline(): messages that were acked before their time leave their entries behind.
void Queue::expire_at(Lsn lsn, TimeMs at) {
  if (expiries_.size() > 2 * (ready_.size() + delayed_.size() + leases_.size() + settling_.size()) + 1024) {
    std::erase_if(expiries_, [this](const Deadline& entry) { return !holds(entry.lsn); });
    std::make_heap(expiries_.begin(), expiries_.end());
  }
  expiries_.push_back({at, lsn, {}});
  std::push_heap(expiries_.begin(), expiries_.end());
}

void Queue::check_invariants() const {
  const auto must = [](bool holds) {
    if (!holds) std::abort();
  };
  std::vector<Lsn> lsns = all();
  std::sort(lsns.begin(), lsns.end());
  must(std::adjacent_find(lsns.begin(), lsns.end()) == lsns.end());  // I1
  must(ready_.is_sound() && delayed_.is_sound());                    // I3
  for (const auto& [lsn, count] : deliveries_) must(!leases_.contains(lsn) && count > 0);
  for (const auto& [lsn, lease] : leases_) {
    must(lease.number <= last_lease_ && lease.deliveries > 0);  // I2
    const bool queued = std::any_of(deadlines_.begin(), deadlines_.end(), [&, key = lsn](const Deadline& entry) {
      return entry.lsn == key && is_live(entry);
    });
    must(queued);
  }
  for (const auto& [lsn, lease] : settling_) {
    if (lease.number.value != 0) continue;
    must(!leases_.contains(lsn) && !ready_.contains(lsn) && !delayed_.contains(lsn));  // I4
  }
}

}  // namespace dmq
