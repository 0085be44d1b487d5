// See ready_lanes.hpp.
#include "storage/ready_lanes.hpp"

#include <algorithm>

namespace dmq {
// --- one lane --------------------------------------------------------------------------------------------------------

bool ReadyLanes::Lane::is_turn() const {
  return !turns.empty() && (line.empty() || turns.begin()->first.behind < line.first());
}

void ReadyLanes::Lane::pop() {
  if (!is_turn()) return line.pop();
  turn_of.erase(turns.begin()->second);
  turns.erase(turns.begin());
}

bool ReadyLanes::Lane::remove(Lsn lsn) {
  const auto turn = turn_of.find(lsn);
  if (turn == turn_of.end()) return line.remove(lsn);
  turns.erase(turn->second);
  turn_of.erase(turn);
  return true;
}

void ReadyLanes::Lane::all(std::vector<Lsn>& out) const {
  line.all(out);
  for (const auto& [lsn, turn] : turn_of) out.push_back(lsn);
}

void ReadyLanes::Lane::add_to(PageBuilder& page) const {
  line.add_to(page);
  page.add_sorted(
      turn_of.upper_bound(page.after()), turn_of.end(), [](const auto& each) { return each.first; },
      [](const auto&) { return true; });
}

bool ReadyLanes::Lane::is_sound() const {
  return line.is_sound() && turn_of.size() == turns.size() &&
         std::all_of(turns.begin(), turns.end(),
                     [this](const auto& turn) { return turn_of.at(turn.second) == turn.first; });
}

// --- all of them -----------------------------------------------------------------------------------------------------

void ReadyLanes::append(Lsn lsn, Priority priority) {
  lane(priority).line.insert(lsn, true);
  ++count_;
}

void ReadyLanes::put_back(Lsn lsn, Priority priority) {
  lane(priority).line.insert(lsn, false);
  ++count_;
}

void ReadyLanes::put_behind(Lsn lsn, Priority priority, Lsn newest) {
  Lane& to = lane(priority);
  const Turn turn{newest, ++last_turn_};
  to.turn_of.emplace(lsn, turn);
  to.turns.emplace(turn, lsn);
  ++count_;
}

std::optional<ReadyLanes::Place> ReadyLanes::first() const {
  if (count_ == 0) return std::nullopt;
  const Priority priority = next_lane();
  return Place{(priority == 0 ? plain_ : above_.at(priority)).first(), priority};
}

// Smooth weighted round robin: who has the most credit is next.
Priority ReadyLanes::next_lane() const {
  if (above_.empty()) return 0;
  std::optional<Priority> best;
  const auto credit = [this](Priority priority) { return credit_[priority] + weights_[priority]; };
  for (const auto& [priority, lane] : above_) {
    if (lane.empty()) continue;
    if (!is_weighted()) return priority;
    if (!best || credit(priority) > credit(*best)) best = priority;
  }
  if (!best || (!plain_.empty() && credit(0) > credit(*best))) return 0;
  return *best;
}

void ReadyLanes::pop() {
  const Priority priority = next_lane();
  if (is_weighted()) {
    std::int32_t sum = 0;
    const auto give = [&](Priority each, const Lane& lane) {
      if (lane.empty()) return;
      credit_[each] += weights_[each];
      sum += weights_[each];
    };
    for (const auto& [each, lane] : above_) give(each, lane);
    give(0, plain_);
    credit_[priority] -= sum;
  }
  Lane& from = lane(priority);
  from.pop();
  if (from.empty()) credit_ = {};  // a round ends: what was saved or borrowed is not taken along
  --count_;
}

std::optional<Priority> ReadyLanes::remove(Lsn lsn) {
  std::optional<Priority> found;
  if (plain_.remove(lsn)) found = Priority{0};
  for (auto at = above_.begin(); !found && at != above_.end(); ++at) {
    if (at->second.remove(lsn)) found = at->first;
  }
  if (found) --count_;
  return found;
}

bool ReadyLanes::contains(Lsn lsn) const {
  return plain_.contains(lsn) ||
         std::any_of(above_.begin(), above_.end(), [lsn](const auto& each) { return each.second.contains(lsn); });
}

void ReadyLanes::all(std::vector<Lsn>& out) const {
  plain_.all(out);
  for (const auto& [priority, lane] : above_) lane.all(out);
}

void ReadyLanes::add_to(PageBuilder& page) const {
  plain_.add_to(page);
  for (const auto& [priority, lane] : above_) lane.add_to(page);
}

// Lane by lane, from the one on in which the page before ended.
StatePage ReadyLanes::next_page(PagePlace after, std::size_t most) const {
  StatePage page;
  const auto add = [&](Priority priority, const Lane& lane) {
    if (priority > after.priority || page.reached || lane.empty()) return;
    if (page.lsns.size() == most) {
      page.reached = {page.lsns.back(), after.priority};
      return;
    }
    PageBuilder builder(priority == after.priority ? after.lsn : Lsn{0}, most - page.lsns.size());
    lane.add_to(builder);
    const StatePage part = builder.finish();
    page.lsns.insert(page.lsns.end(), part.lsns.begin(), part.lsns.end());
    if (part.reached) page.reached = {part.reached->lsn, priority};
    after = {part.lsns.empty() ? Lsn{0} : part.lsns.back(), priority};
  };
  for (const auto& [priority, lane] : above_) add(priority, lane);
  add(0, plain_);
  return page;
}

bool ReadyLanes::is_sound() const {
  std::size_t count = plain_.size();
  bool sound = plain_.is_sound();
  for (const auto& [priority, lane] : above_) {
    count += lane.size();
    sound &= lane.is_sound();
  }
  return sound && count == count_;
}

}  // namespace dmq
