// A deque for what comes in order, a set for the rest.
#include "storage/lsn_line.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::size_t kGoneMin = 1024;  // so many may lie in a line in vain, and as many as are not

}  // namespace

void LsnLine::insert(Lsn lsn, bool fresh) {
  if (fresh && (fresh_.empty() || fresh_.back() < lsn)) {
    fresh_.push_back(lsn);
  } else {
    others_.insert(lsn);
  }
}

Lsn LsnLine::first() const {
  if (others_.empty()) return fresh_.front();
  return fresh_.empty() ? *others_.begin() : std::min(*others_.begin(), fresh_.front());
}

void LsnLine::pop() {
  if (!others_.empty() && (fresh_.empty() || *others_.begin() < fresh_.front())) {
    others_.erase(others_.begin());
  } else {
    fresh_.pop_front();
    skip_gone();
  }
}

bool LsnLine::has_fresh(Lsn lsn) const {
  return std::binary_search(fresh_.begin(), fresh_.end(), lsn) && !gone_.contains(lsn);
}

bool LsnLine::remove(Lsn lsn) {
  if (others_.erase(lsn) > 0) return true;
  if (!has_fresh(lsn)) return false;
  gone_.insert(lsn);
  skip_gone();
  if (gone_.size() < kGoneMin || 2 * gone_.size() < fresh_.size()) return true;
  std::erase_if(fresh_, [this](Lsn each) { return gone_.contains(each); });
  gone_.clear();
  return true;
}

void LsnLine::skip_gone() {
  while (!fresh_.empty() && !gone_.empty() && gone_.erase(fresh_.front()) > 0) fresh_.pop_front();
}

void LsnLine::all(std::vector<Lsn>& out) const {
  std::copy_if(fresh_.begin(), fresh_.end(), std::back_inserter(out), [this](Lsn lsn) { return !gone_.contains(lsn); });
  out.insert(out.end(), others_.begin(), others_.end());
}

void LsnLine::add_to(PageBuilder& page) const {
  const auto same = [](Lsn lsn) { return lsn; };
  page.add_sorted(std::upper_bound(fresh_.begin(), fresh_.end(), page.after()), fresh_.end(), same,
                  [this](Lsn lsn) { return gone_.empty() || !gone_.contains(lsn); });
  page.add_sorted(others_.upper_bound(page.after()), others_.end(), same, [](Lsn) { return true; });
}

bool LsnLine::is_sound() const {
  return std::is_sorted(fresh_.begin(), fresh_.end()) && (gone_.empty() || !gone_.contains(fresh_.front()));
}

}  // namespace dmq
