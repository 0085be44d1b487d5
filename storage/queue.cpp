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
  newest_ = std::max(newest_, lsn);
  const ReturnState* const returned = arrival.returned;
  if (returned != nullptr) history_.emplace(lsn, *returned);
  if (arrival.key.value != 0) keys_.own().learn(lsn, arrival.key, arrival.priority);
  if (returned != nullptr && returned->move.is_set()) {
    bury(lsn, arrival.priority, returned->move);
  } else if (returned != nullptr && returned->lease.is_set() && keys_->knows(lsn)) {
    lead_line(lsn);
    leases_.emplace(lsn, Lease{kNever, returned->lease.id, returned->lease.given_ms, returned->deliveries + 1,
                               arrival.bytes, arrival.priority});
  } else {
    // A record that lost its key to a fault of the disk has a lease all the same; the fault shows when it is read.
    if (returned != nullptr && returned->lease.is_set()) history_.at(lsn).lease = {};
    if (returned != nullptr && history_.at(lsn).is_empty()) history_.erase(lsn);
    wait(lsn, arrival.priority, arrival.ready_at, now, returned == nullptr);
  }
  if (arrival.expires_at) expire_at(lsn, *arrival.expires_at);
}

// Ready at once or later, when its key lets it.
void Queue::wait(Lsn lsn, Priority priority, TimeMs ready_at, TimeMs now, bool fresh) {
  const bool later = ready_at > now;
  if (const auto front = keys_->front(lsn); front && lsn < *front) pass(*front, lsn);
  if (keys_->is_early(lsn)) leave_line(lsn);  // it was to go, like one before it that is back
  if (keys_->knows(lsn) && !keys_->is_front(lsn) && !keys_.own().join(lsn, later ? ready_at : TimeMs{})) return;
  later ? delayed_.own().add(lsn, priority, ready_at, fresh) : make_ready(lsn, priority, fresh || lsn == newest_);
}

void Queue::make_ready(Lsn lsn, Priority priority, bool fresh) {
  if (keys_->knows(lsn)) return ready_.put_behind(lsn, priority, newest_);
  fresh ? ready_.append(lsn, priority) : ready_.put_back(lsn, priority);
}

// It is settled, or dead: the next of its key has its turn.
void Queue::leave_line(Lsn lsn) {
  if (!keys_->knows(lsn)) return;
  const auto next = keys_.own().leave(lsn);
  if (!next) return;
  if (next->ready_at.value == 0) return make_ready(next->lsn, next->priority, false);
  delayed_.own().add(next->lsn, next->priority, next->ready_at, false);  // perhaps its time came: the next wake() sees
}

void Queue::forget_key(Lsn lsn) {
  leave_line(lsn);
  if (keys_->knows(lsn)) keys_.own().forget(lsn);
}

// It is out by what the log says, whatever this replica would have let out.
void Queue::lead_line(Lsn lsn) {
  const auto front = keys_->front(lsn);
  if (front == lsn || (front && pass(*front, lsn))) return;
  keys_.own().overtake(lsn, {});
  if (front) keys_.own().leave(*front);  // it is being settled, was set aside, or is out by an older part of a snapshot
}

// A front that only waits is held, and `lsn` is the front. False: it does not wait.
bool Queue::pass(Lsn front, Lsn lsn) {
  const TimeMs ready_at = delayed_->ready_at(front).value_or(TimeMs{});
  const bool waits = ready_.remove(front) || remove_delayed(front);
  if (waits) keys_.own().overtake(lsn, ready_at);
  return waits;
}

std::optional<Lsn> Queue::first_ready() const {
  const auto first = ready_.first();
  return first ? std::optional(first->lsn) : std::nullopt;
}

Lease Queue::lease_first(Epoch epoch, TimeMs deadline, std::uint32_t bytes, TimeMs now_ms) {
  const auto [lsn, priority] = *ready_.first();
  ready_.pop();
  ++last_lease_.value;
  const Lease lease{
      keys_->knows(lsn) ? kNever : deadline, {epoch, last_lease_}, now_ms, deliveries(lsn) + 1, bytes, priority};
  leases_.emplace(lsn, lease);
  if (!keys_->knows(lsn)) push_deadline({deadline, lsn, lease.id});
  return lease;
}

bool Queue::withdraw(Lsn lsn) {
  if (const auto dead = dead_.find(lsn); dead != dead_.end()) {
    return dead->second.to.value == 0 && !std::exchange(dead->second.settling, true);
  }
  const auto ready_at = keys_->is_held(lsn) ? std::optional(keys_->held_until(lsn)) : delayed_->ready_at(lsn);
  if (!ready_at && !ready_.contains(lsn)) return false;
  const auto priority = take_out(lsn);
  Lease withdrawn;
  withdrawn.deadline = ready_at.value_or(TimeMs{});
  withdrawn.priority = *priority;
  withdrawn.kind = Lease::Kind::kWithdrawn;
  settling_.emplace(lsn, withdrawn);
  return true;
}

std::optional<Lease> Queue::begin_settle(Lsn lsn, LeaseId id) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.id != id) return std::nullopt;
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
  // A message with a key that was acked on delivery has not left: its lease, which nobody has, would never end.
  const bool kept_back = found->second.deadline == kNever && !is_logged(lsn, found->second.id);
  if (found->second.kind == Lease::Kind::kWithdrawn || kept_back) {
    const auto [ready_at, priority] = std::pair(found->second.deadline, found->second.priority);
    settling_.erase(found);
    wait(lsn, priority, kept_back ? TimeMs{} : ready_at, {}, false);  // when its time is over the next wake() sees
    return came_back(lsn);
  }
  const auto lease = leases_.insert(settling_.extract(found)).position;
  push_deadline({lease->second.deadline, lsn, lease->second.id});
}

bool Queue::remove(Lsn lsn, std::uint32_t bytes) {
  const bool was_here = take_out(lsn).has_value();
  forget_key(lsn);
  if (!was_here) return false;
  if (!overdue_.empty()) overdue_.erase(lsn);
  if (!history_.empty()) history_.erase(lsn);
  bytes_ -= bytes;
  stored_ -= stored_bytes(bytes);
  return true;
}

void Queue::set_aside(Lsn lsn, bool holds_key) {
  take_out(lsn);
  if (!holds_key) forget_key(lsn);
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
    leave_line(lsn);
    bury(lsn, *priority, state.move);
  } else {
    wait(lsn, *priority, ready_at, now, false);
    came_back(lsn);
  }
  return true;
}

bool Queue::apply_lease(Lsn lsn, const LoggedLease& lease, std::uint32_t bytes, std::optional<TimeMs> deadline) {
  if (!keys_->knows(lsn) || !holds(lsn) || dead_.contains(lsn)) return false;
  history_[lsn].lease = lease;
  const bool expired_early = expired_.contains(lsn);           // at a new leader, that had not heard of the lease
  if (settling_.contains(lsn) && !expired_early) return true;  // it ended, and what the log says of that comes later
  lead_line(lsn);
  if (const auto own = leases_.find(lsn); own != leases_.end() && own->second.id == lease.id)
    return !deadline || extend(lsn, lease.id, *deadline);
  take_out(lsn);
  leases_.emplace(lsn, Lease{deadline.value_or(kNever), lease.id, lease.given_ms, deliveries(lsn) + 1, bytes,
                             keys_->priority(lsn)});
  if (deadline) push_deadline({*deadline, lsn, lease.id});
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
  std::vector<std::pair<Lsn, Lease>> ended(leases_.begin(), leases_.end());
  ended.insert(ended.end(), settling_.begin(), settling_.end());
  const auto before = [](const auto& a, const auto& b) { return a.first < b.first; };
  if (!keys_->empty()) std::sort(ended.begin(), ended.end(), before);  // of a key, the first is the front
  leases_.clear();
  settling_.clear();
  for (const auto& [lsn, lease] : ended) {
    end_lease(lsn, lease);
    // What expired was not settled in this term; the next one looks again.
    if (lease.kind == Lease::Kind::kExpired) expire_at(lsn, TimeMs{});
  }
  for (auto& [lsn, dead] : dead_) leave_again(lsn, dead);
  deadlines_.clear();
  expired_.clear();
}

void Queue::end_lease(Lsn lsn, const Lease& lease) {
  if (lease.kind != Lease::Kind::kLease || !is_logged(lsn, lease.id)) return return_to_ready(lsn, lease.priority);
  Lease& kept = leases_.emplace(lsn, lease).first->second;
  kept.deadline = kNever;
}

void Queue::resume_leases(TimeMs now) {
  if (keys_->empty()) return;
  for (auto& [lsn, lease] : leases_) {
    if (lease.deadline != kNever || !is_logged(lsn, lease.id)) continue;
    lease.deadline = now + history_.at(lsn).lease.duration;
    push_deadline({lease.deadline, lsn, lease.id});
  }
}

bool Queue::is_logged(Lsn lsn, LeaseId id) const {
  const ReturnState* const state = returned(lsn);
  return state != nullptr && state->lease.is_set() && state->lease.id == id;
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
  if (keys_->is_held(lsn)) {
    keys_.own().leave(lsn);
    return keys_->priority(lsn);
  }
  return remove_delayed(lsn);
}

std::optional<Priority> Queue::remove_delayed(Lsn lsn) {
  return delayed_->contains(lsn) ? delayed_.own().remove(lsn) : std::nullopt;
}

bool Queue::holds(Lsn lsn) const {
  return settling_.contains(lsn) || leases_.contains(lsn) || ready_.contains(lsn) || delayed_->contains(lsn) ||
         dead_.contains(lsn) || keys_->is_held(lsn);
}

bool Queue::extend(Lsn lsn, LeaseId id, TimeMs deadline) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.id != id) return false;
  found->second.deadline = deadline;
  push_deadline({deadline, lsn, id});
  return true;
}

const Lease* Queue::lease(Lsn lsn, LeaseId id) const {
  const auto found = leases_.find(lsn);
  return found == leases_.end() || found->second.id != id ? nullptr : &found->second;
}

bool Queue::undo_lease(Lsn lsn, LeaseId id) {
  const auto found = leases_.find(lsn);
  if (found == leases_.end() || found->second.id != id || is_logged(lsn, id)) return false;
  const Priority priority = found->second.priority;
  leases_.erase(found);
  return_to_ready(lsn, priority);
  return true;
}

void Queue::return_to_ready(Lsn lsn, Priority priority) {
  wait(lsn, priority, {}, {}, false);
  came_back(lsn);
}

// --- time ------------------------------------------------------------------------------------------------------------

void Queue::expire(TimeMs now, std::size_t most, std::vector<Expired>& out) {
  for (std::size_t found = 0; !deadlines_.empty() && deadlines_.front().at <= now && found < most;) {
    const Deadline top = deadlines_.front();
    std::pop_heap(deadlines_.begin(), deadlines_.end());
    deadlines_.pop_back();
    if (!is_live(top)) continue;
    out.push_back({top.lsn, *begin_settle(top.lsn, top.lease)});
    ++found;
  }
}

bool Queue::wake(TimeMs now) {
  bool any = false;
  const auto is_due = [&] {
    const auto next = delayed_->next();
    return next && *next <= now;
  };
  while (is_due()) {
    const auto woken = delayed_.own().wake(now);
    if (!woken) break;
    make_ready(woken->lsn, woken->priority, true);
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
  std::optional<TimeMs> next = delayed_->next();
  for (const auto* heap : {&deadlines_, &expiries_}) {
    if (!heap->empty() && (!next || heap->front().at < *next)) next = heap->front().at;
  }
  return next;
}

QueueCounts Queue::counts() const {
  return {ready_.size() + keys_->held(),
          leases_.size() + settling_.size(),
          delayed_->size(),
          dead_.size(),
          bytes_,
          stored_};
}

std::vector<Lsn> Queue::all() const {
  std::vector<Lsn> lsns;
  ready_.all(lsns);
  delayed_->all(lsns);
  keys_->all_held(lsns);
  for (const auto& [lsn, lease] : leases_) lsns.push_back(lsn);
  for (const auto& [lsn, lease] : settling_) lsns.push_back(lsn);
  for (const auto& [lsn, dead] : dead_) lsns.push_back(lsn);
  return lsns;
}

bool Queue::is_live(const Deadline& deadline) const {
  const auto found = leases_.find(deadline.lsn);
  return found != leases_.end() && found->second.id == deadline.lease && found->second.deadline == deadline.at;
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
  if (expiries_.size() >
      2 * (ready_.size() + keys_->held() + delayed_->size() + leases_.size() + settling_.size()) + 1024) {
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
  must(ready_.is_sound() && delayed_->is_sound());                   // I3
  must(keys_->is_sound());                                           // I6
  for (const Lsn lsn : lsns) {
    const bool waits = keys_->knows(lsn) && (ready_.contains(lsn) || delayed_->contains(lsn));
    must(!waits || keys_->is_front(lsn));
  }
  for (const auto& [lsn, state] : history_) {
    must(!state.is_empty() && holds(lsn));
    must(state.move.is_set() == dead_.contains(lsn));
    must(!state.lease.is_set() || leases_.contains(lsn) || settling_.contains(lsn));  // I7
  }
  for (const Leaving& each : leaving_) {
    const Dead& dead = dead_.at(each.lsn);
    must(dead.to == each.to && dead.mark == each.mark && !dead.settling);  // I5
  }
  for (const auto& [lsn, lease] : leases_) {
    must(lease.deliveries > 0);
    if (lease.deadline == kNever) continue;  // I7
    const bool queued = std::any_of(deadlines_.begin(), deadlines_.end(), [&, key = lsn](const Deadline& entry) {
      return entry.lsn == key && is_live(entry);
    });
    must(queued);
  }
  for (const auto& [lsn, lease] : settling_) {
    if (lease.kind != Lease::Kind::kExpired) continue;
    must(!leases_.contains(lsn) && !ready_.contains(lsn) && !delayed_->contains(lsn));  // I4
  }
}

}  // namespace dmq
