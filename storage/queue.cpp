// The transitions of the queue core.
#include "storage/queue.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <utility>

#include "storage/log_keys.hpp"

namespace dmq {

void Queue::append(Lsn lsn, const Arrival& arrival, TimeMs now) {
  bytes_ += arrival.bytes;
  stored_ += stored_bytes(arrival.bytes);
  if (arrival.returned != nullptr) history_.emplace(lsn, *arrival.returned);
  if (arrival.returned != nullptr && arrival.returned->move.is_set()) {
    bury(lsn, arrival.priority, arrival.returned->move);
  } else if (arrival.ready_at > now) {
    delayed_.add(lsn, arrival.priority, arrival.ready_at, arrival.returned == nullptr);
  } else {
    ready_.append(lsn, arrival.priority);
  }
  if (arrival.expires_at) expire_at(lsn, *arrival.expires_at);
}

std::optional<Lsn> Queue::first_ready() const {
  const auto first = ready_.first();
  return first ? std::optional(first->lsn) : std::nullopt;
}

Lease Queue::lease_first(TimeMs deadline, std::uint32_t bytes, TimeMs now_ms) {
  const auto [lsn, priority] = *ready_.first();
  ready_.pop();
  ++last_lease_.value;
  const Lease lease{deadline, last_lease_, now_ms, deliveries(lsn) + 1, bytes, priority};
  leases_.emplace(lsn, lease);
  push_deadline({deadline, lsn, lease.number});
  return lease;
}

bool Queue::withdraw(Lsn lsn) {
  if (const auto dead = dead_.find(lsn); dead != dead_.end()) {
    return dead->second.to.value == 0 && !std::exchange(dead->second.settling, true);
  }
  const auto priority = ready_.remove(lsn);
  if (!priority) return false;
  Lease withdrawn;
  withdrawn.priority = *priority;
  withdrawn.kind = Lease::Kind::kWithdrawn;
  settling_.emplace(lsn, withdrawn);
  return true;
}

std::optional<Lease> Queue::begin_settle(Lsn lsn, LeaseNumber number) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.number != number) return std::nullopt;
  return settling_.insert(leases_.extract(found)).position->second;
}

void Queue::restore(Lsn lsn) {
  if (const auto dead = dead_.find(lsn); dead != dead_.end()) return leave_again(lsn, dead->second);
  const auto found = settling_.find(lsn);
  if (found == settling_.end()) return;
  if (found->second.kind == Lease::Kind::kExpired) {
    expired_.insert(lsn);  // it is expired all the same
    return;
  }
  if (found->second.kind == Lease::Kind::kWithdrawn) {
    const Priority priority = found->second.priority;
    settling_.erase(found);
    return return_to_ready(lsn, priority);
  }
  const auto lease = leases_.insert(settling_.extract(found)).position;
  push_deadline({lease->second.deadline, lsn, lease->second.number});
}

bool Queue::remove(Lsn lsn, std::uint32_t bytes) {
  if (!take_out(lsn)) return false;
  if (!overdue_.empty()) overdue_.erase(lsn);
  if (!history_.empty()) history_.erase(lsn);
  bytes_ -= bytes;
  stored_ -= stored_bytes(bytes);
  return true;
}

void Queue::set_aside(Lsn lsn) {
  take_out(lsn);
  overdue_.erase(lsn);
  history_.erase(lsn);
}

bool Queue::give_back(Lsn lsn, const ReturnState& state, TimeMs ready_at, TimeMs now) {
  const auto priority = take_out(lsn);
  if (!priority) return false;
  if (state.is_empty()) {
    history_.erase(lsn);
  } else {
    history_[lsn] = state;
  }
  if (state.move.is_set()) {
    bury(lsn, *priority, state.move);
  } else if (ready_at <= now) {
    return_to_ready(lsn, *priority);
  } else {
    delayed_.add(lsn, *priority, ready_at, false);
    came_back(lsn);
  }
  return true;
}

void Queue::bury(Lsn lsn, Priority priority, const Move& move) {
  leave_again(lsn, dead_.emplace(lsn, Dead{priority, move.to, move.mark, false}).first->second);
}

void Queue::leave_again(Lsn lsn, Dead& dead) {
  dead.settling = false;
  if (dead.to.value != 0) leaving_.insert({dead.to, dead.mark, lsn});
}

void Queue::end_leases() {
  for (const auto& [lsn, lease] : leases_) return_to_ready(lsn, lease.priority);
  for (const auto& [lsn, lease] : settling_) return_to_ready(lsn, lease.priority);
  // What expired was not settled in this term; the next one looks again.
  for (const auto& [lsn, lease] : settling_) {
    if (lease.kind == Lease::Kind::kExpired) expire_at(lsn, TimeMs{});
  }
  for (auto& [lsn, dead] : dead_) leave_again(lsn, dead);
  leases_.clear();
  settling_.clear();
  deadlines_.clear();
  expired_.clear();
}

const ReturnState* Queue::returned(Lsn lsn) const {
  if (history_.empty()) return nullptr;
  const auto known = history_.find(lsn);
  return known == history_.end() ? nullptr : &known->second;
}

std::uint32_t Queue::deliveries(Lsn lsn) const {
  const ReturnState* known = returned(lsn);
  return known == nullptr ? 0 : known->deliveries;
}

void Queue::take_left(QueueId to, std::uint64_t mark, std::vector<Lsn>& out) {
  for (auto each = leaving_.lower_bound({to, 0, {}}); each != leaving_.end() && each->to == to && each->mark <= mark;
       each = leaving_.erase(each)) {
    dead_.at(each->lsn).settling = true;
    out.push_back(each->lsn);
  }
}

std::optional<Priority> Queue::take_out(Lsn lsn) {
  for (auto* leases : {&settling_, &leases_}) {
    const auto lease = leases->find(lsn);
    if (lease == leases->end()) continue;
    const Priority priority = lease->second.priority;
    if (lease->second.kind == Lease::Kind::kExpired) {
      expired_.erase(lsn);
      overdue_.insert(lsn);  // should it come back
    }
    leases->erase(lease);
    return priority;
  }
  if (const auto dead = dead_.find(lsn); dead != dead_.end()) {
    const Priority priority = dead->second.priority;
    leaving_.erase({dead->second.to, dead->second.mark, lsn});
    dead_.erase(dead);
    return priority;
  }
  if (const auto priority = ready_.remove(lsn)) return priority;
  return delayed_.remove(lsn);
}

bool Queue::holds(Lsn lsn) const {
  return settling_.contains(lsn) || leases_.contains(lsn) || ready_.contains(lsn) || delayed_.contains(lsn) ||
         dead_.contains(lsn);
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
  const Priority priority = found->second.priority;
  leases_.erase(found);
  return_to_ready(lsn, priority);
  return true;
}

void Queue::return_to_ready(Lsn lsn, Priority priority) {
  ready_.put_back(lsn, priority);
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
    ready_.append(woken->lsn, woken->priority);
    any = true;
  }
  while (!expiries_.empty() && expiries_.front().at <= now) {
    const Lsn lsn = expiries_.front().lsn;
    std::pop_heap(expiries_.begin(), expiries_.end());
    expiries_.pop_back();
    if (leases_.contains(lsn) || settling_.contains(lsn) || dead_.contains(lsn)) {
      overdue_.insert(lsn);
    } else {
      expire_message(lsn);
    }
  }
  return any;
}

// False: it is gone.
bool Queue::expire_message(Lsn lsn) {
  const auto priority = take_out(lsn);
  if (!priority) return false;
  Lease expired;
  expired.priority = *priority;
  expired.kind = Lease::Kind::kExpired;
  settling_.emplace(lsn, expired);
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
  return {ready_.size(), leases_.size() + settling_.size(), delayed_.size(), dead_.size(), bytes_, stored_};
}

std::vector<Lsn> Queue::all() const {
  std::vector<Lsn> lsns;
  ready_.all(lsns);
  delayed_.all(lsns);
  for (const auto& [lsn, lease] : leases_) lsns.push_back(lsn);
  for (const auto& [lsn, lease] : settling_) lsns.push_back(lsn);
  for (const auto& [lsn, dead] : dead_) lsns.push_back(lsn);
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
  for (const auto& [lsn, state] : history_) {
    must(!state.is_empty() && holds(lsn));
    must(state.move.is_set() == dead_.contains(lsn));
  }
  for (const Leaving& each : leaving_) {
    const Dead& dead = dead_.at(each.lsn);
    must(dead.to == each.to && dead.mark == each.mark && !dead.settling);  // I5
  }
  for (const auto& [lsn, lease] : leases_) {
    must(lease.number <= last_lease_ && lease.deliveries > 0);  // I2
    const bool queued = std::any_of(deadlines_.begin(), deadlines_.end(), [&, key = lsn](const Deadline& entry) {
      return entry.lsn == key && is_live(entry);
    });
    must(queued);
  }
  for (const auto& [lsn, lease] : settling_) {
    if (lease.kind != Lease::Kind::kExpired) continue;
    must(!leases_.contains(lsn) && !ready_.contains(lsn) && !delayed_.contains(lsn));  // I4
  }
}

}  // namespace dmq
