// See delay_index.hpp.
#include "storage/delay_index.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::size_t kVainMin = 1024;  // entries in vain that are left alone in any case

}  // namespace

void DelayIndex::add(Lsn lsn, Priority priority, TimeMs ready_at, bool fresh) {
  const When when = When::of(ready_at, priority);
  if (fresh && (list_.empty() || list_.back().lsn < lsn)) {
    list_.push_back({when, lsn});
  } else {
    others_[lsn] = when;
  }
  ++count_;
  heap_.push_back({when, lsn});
  std::push_heap(heap_.begin(), heap_.end());
  sweep();
}

std::deque<DelayIndex::Entry>::const_iterator DelayIndex::in_list(Lsn lsn) const {
  const auto at = std::lower_bound(list_.begin(), list_.end(), lsn,
                                   [](const Entry& entry, Lsn wanted) { return entry.lsn < wanted; });
  return at != list_.end() && at->lsn == lsn && at->when != kGone ? at : list_.end();
}

std::optional<DelayIndex::When> DelayIndex::find(Lsn lsn) const {
  if (const auto other = others_.find(lsn); other != others_.end()) return other->second;
  const auto at = in_list(lsn);
  return at == list_.end() ? std::nullopt : std::optional(at->when);
}

std::optional<Priority> DelayIndex::remove(Lsn lsn) {
  const auto when = find(lsn);
  if (!when) return std::nullopt;
  --count_;
  if (others_.erase(lsn) == 0) {
    list_[static_cast<std::size_t>(in_list(lsn) - list_.begin())].when = kGone;
    ++gone_;
  }
  for (; !list_.empty() && list_.front().when == kGone; list_.pop_front()) --gone_;
  for (; !list_.empty() && list_.back().when == kGone; list_.pop_back()) --gone_;
  return when->priority();
}

std::optional<DelayIndex::Woken> DelayIndex::wake(TimeMs now) {
  while (!heap_.empty() && heap_.front().when.at() <= now) {
    const Entry top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    if (!is_live(top)) continue;
    remove(top.lsn);
    return Woken{top.lsn, top.when.priority()};
  }
  return std::nullopt;
}

std::optional<TimeMs> DelayIndex::ready_at(Lsn lsn) const {
  const auto when = find(lsn);
  return when ? std::optional(when->at()) : std::nullopt;
}

std::optional<TimeMs> DelayIndex::next() const {
  return heap_.empty() ? std::nullopt : std::optional(heap_.front().when.at());
}

void DelayIndex::sweep() {
  if (heap_.size() > 2 * count_ + kVainMin) {
    std::erase_if(heap_, [this](const Entry& entry) { return !is_live(entry); });
    std::make_heap(heap_.begin(), heap_.end());
  }
  if (gone_ > kVainMin && 2 * gone_ > list_.size()) {
    std::erase_if(list_, [](const Entry& entry) { return entry.when == kGone; });
    gone_ = 0;
  }
}

void DelayIndex::all(std::vector<Lsn>& out) const {
  for (const Entry& entry : list_) {
    if (entry.when != kGone) out.push_back(entry.lsn);
  }
  for (const auto& [lsn, when] : others_) out.push_back(lsn);
}

bool DelayIndex::add_to(PageBuilder& page) const {
  if (others_.size() > kPageLooksMax) return false;
  const auto first = std::upper_bound(list_.begin(), list_.end(), page.after(),
                                      [](Lsn after, const Entry& entry) { return after < entry.lsn; });
  page.add_sorted(
      first, list_.end(), [](const Entry& entry) { return entry.lsn; },
      [](const Entry& entry) { return entry.when != kGone; });
  for (const auto& [lsn, when] : others_) page.add(lsn);
  return true;
}

bool DelayIndex::is_sound() const {
  std::vector<Entry> live;
  std::copy_if(heap_.begin(), heap_.end(), std::back_inserter(live),
               [this](const Entry& each) { return is_live(each); });
  std::sort(live.begin(), live.end());
  const auto same = [](const Entry& a, const Entry& b) { return a.lsn == b.lsn && a.when == b.when; };
  live.erase(std::unique(live.begin(), live.end(), same), live.end());
  return live.size() == count_ && list_.size() - gone_ + others_.size() == count_ &&
         std::is_sorted(list_.begin(), list_.end(), [](const Entry& a, const Entry& b) { return a.lsn < b.lsn; });
}

}  // namespace dmq
