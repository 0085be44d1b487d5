// See ready_lanes.hpp.
#include "storage/ready_lanes.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::size_t kGoneMin = 1024;  // so many may lie in a lane in vain, and as many as are not

}  // namespace

// --- one lane --------------------------------------------------------------------------------------------------------

Lsn ReadyLanes::Lane::first() const {
  if (returned.empty()) return fresh.front();
  return fresh.empty() ? *returned.begin() : std::min(*returned.begin(), fresh.front());
}

void ReadyLanes::Lane::pop() {
  if (!returned.empty() && (fresh.empty() || *returned.begin() < fresh.front())) {
    returned.erase(returned.begin());
  } else {
    fresh.pop_front();
    skip_gone();
  }
}

bool ReadyLanes::Lane::has_fresh(Lsn lsn) const {
  return std::binary_search(fresh.begin(), fresh.end(), lsn) && !gone.contains(lsn);
}

bool ReadyLanes::Lane::remove(Lsn lsn) {
  if (returned.erase(lsn) > 0) return true;
  if (!has_fresh(lsn)) return false;
  gone.insert(lsn);
  skip_gone();
  if (gone.size() < kGoneMin || 2 * gone.size() < fresh.size()) return true;
  std::erase_if(fresh, [this](Lsn each) { return gone.contains(each); });
  gone.clear();
  return true;
}

void ReadyLanes::Lane::skip_gone() {
  while (!fresh.empty() && !gone.empty() && gone.erase(fresh.front()) > 0) fresh.pop_front();
}

void ReadyLanes::Lane::add_to(PageBuilder& page) const {
  const auto same = [](Lsn lsn) { return lsn; };
  page.add_sorted(std::upper_bound(fresh.begin(), fresh.end(), page.after()), fresh.end(), same,
                  [this](Lsn lsn) { return gone.empty() || !gone.contains(lsn); });
  page.add_sorted(returned.upper_bound(page.after()), returned.end(), same, [](Lsn) { return true; });
}

// --- all of them -----------------------------------------------------------------------------------------------------

void ReadyLanes::append(Lsn lsn, Priority priority) {
  Lane& to = lane(priority);
  if (!to.fresh.empty() && to.fresh.back() >= lsn) return put_back(lsn, priority);
  to.fresh.push_back(lsn);
  ++count_;
}

void ReadyLanes::put_back(Lsn lsn, Priority priority) {
  lane(priority).returned.insert(lsn);
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
  const auto add = [&out](const Lane& lane) {
    std::copy_if(lane.fresh.begin(), lane.fresh.end(), std::back_inserter(out),
                 [&](Lsn lsn) { return !lane.gone.contains(lsn); });
    out.insert(out.end(), lane.returned.begin(), lane.returned.end());
  };
  add(plain_);
  for (const auto& [priority, lane] : above_) add(lane);
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
  std::size_t count = 0;
  bool sound = true;
  const auto look = [&](const Lane& lane) {
    count += lane.fresh.size() - lane.gone.size() + lane.returned.size();
    sound &= std::is_sorted(lane.fresh.begin(), lane.fresh.end());
    sound &= lane.gone.empty() || !lane.gone.contains(lane.fresh.front());
  };
  look(plain_);
  for (const auto& [priority, lane] : above_) look(lane);
  return sound && count == count_;
}

}  // namespace dmq
