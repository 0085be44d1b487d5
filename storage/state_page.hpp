// A part of the messages in one state, found in sorted and unsorted containers with a bound on what is looked at.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "protocol/ids.hpp"

namespace dmq {

inline constexpr std::size_t kPageLooksMax = 100'000;  // entries of one container that a page looks at

// Where a page stands in a queue.
struct PagePlace {
  Lsn lsn;
  Priority priority = 0;  // where the order goes by it
};

struct StatePage {
  std::vector<Lsn> lsns;             // in the order that was asked for
  std::optional<PagePlace> reached;  // all up to there was looked at; empty: all there is
};

// Gathers the `most` lowest LSNs behind `after`, of any number of containers.
class PageBuilder {
 public:
  PageBuilder(Lsn after, std::size_t most) : after_(after), most_(most) {}

  // A container sorted by LSN, from its first behind `after` on: `lsn_of` and `is_live` take an entry.
  template <class Iterator, class LsnOf, class IsLive>
  void add_sorted(Iterator at, Iterator end, LsnOf lsn_of, IsLive is_live) {
    std::size_t found = 0;
    for (std::size_t looks = 0; at != end; ++at) {
      if (found == most_ || looks++ == kPageLooksMax) return;
      const Lsn lsn = lsn_of(*at);
      const bool live = is_live(*at);
      if (live) lsns_.push_back(lsn);
      found += live ? 1 : 0;
      if (found == most_ || looks == kPageLooksMax) cut(lsn);
    }
  }
  // One of a container that is in no order, and no larger than kPageLooksMax.
  void add(Lsn lsn) {
    if (lsn > after_) lsns_.push_back(lsn);
  }
  // Oldest first.
  StatePage finish() {
    if (end_) std::erase_if(lsns_, [this](Lsn lsn) { return lsn > *end_; });
    if (lsns_.size() > most_) {
      std::nth_element(lsns_.begin(), lsns_.begin() + static_cast<std::ptrdiff_t>(most_) - 1, lsns_.end());
      lsns_.resize(most_);
      end_ = lsns_.back();
    }
    std::sort(lsns_.begin(), lsns_.end());
    return {std::move(lsns_), end_ ? std::optional(PagePlace{*end_}) : std::nullopt};
  }
  Lsn after() const { return after_; }

 private:
  void cut(Lsn lsn) { end_ = end_ ? std::min(*end_, lsn) : lsn; }

  const Lsn after_;
  const std::size_t most_;
  std::vector<Lsn> lsns_;
  std::optional<Lsn> end_;  // what is behind it may be missing here
};

}  // namespace dmq
