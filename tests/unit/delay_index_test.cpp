// Messages that wait for their time.
#include "storage/delay_index.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

namespace dmq {

TEST_CASE("messages wake in the order of their times", "[storage][queue]") {
  DelayIndex index;
  index.add({1}, 3, {300}, true);
  index.add({2}, 0, {100}, true);
  index.add({3}, 9, {200}, false);
  CHECK(index.next() == TimeMs{100});
  CHECK_FALSE(index.wake({99}));
  const auto first = index.wake({250});
  REQUIRE(first);
  CHECK(first->lsn == Lsn{2});
  const auto second = index.wake({250});
  REQUIRE(second);
  CHECK(second->lsn == Lsn{3});
  CHECK(second->priority == 9);
  CHECK_FALSE(index.wake({250}));
  CHECK(index.ready_at({1}) == TimeMs{300});
  CHECK(index.remove({1}) == Priority{3});
  CHECK(index.size() == 0);
  CHECK_FALSE(index.wake({1000}));
}

TEST_CASE("the index of delays does what a naive one does", "[storage][queue][random]") {
  std::mt19937_64 random(7);
  const auto pick = [&](std::uint64_t below) { return random() % below; };
  DelayIndex index;
  std::set<std::pair<TimeMs, Lsn>> model;
  TimeMs now{0};
  std::uint64_t next = 1;
  for (int step = 0; step < 20'000; ++step) {
    now.value += static_cast<std::int64_t>(pick(3));
    const TimeMs at{now.value + 1 + static_cast<std::int64_t>(pick(400))};
    if (pick(3) == 0) {
      index.add({next}, static_cast<Priority>(next % 10), at, pick(2) == 0);
      model.emplace(at, Lsn{next++});
    } else if (pick(2) == 0) {
      const Lsn lsn{1 + pick(next)};
      const auto known =
          std::find_if(model.begin(), model.end(), [lsn](const auto& each) { return each.second == lsn; });
      REQUIRE(index.contains(lsn) == (known != model.end()));
      REQUIRE(index.remove(lsn).has_value() == (known != model.end()));
      if (known != model.end()) model.erase(known);
    } else if (const auto woken = index.wake(now)) {
      REQUIRE(woken->priority == woken->lsn.value % 10);
      REQUIRE(model.begin()->first <= now);
      const auto known =
          std::find_if(model.begin(), model.end(), [&](const auto& each) { return each.second == woken->lsn; });
      REQUIRE(known != model.end());
      REQUIRE(known->first == model.begin()->first);
      model.erase(known);
    } else {
      REQUIRE((model.empty() || model.begin()->first > now));
    }
    REQUIRE(index.size() == model.size());
    if (step % 100 == 0) REQUIRE(index.is_sound());
  }
}

TEST_CASE("a message that waits long does not keep the places of those that went", "[storage][queue]") {
  DelayIndex index;
  index.add({1}, 0, {INT64_MAX >> 5}, true);
  for (std::uint64_t i = 2; i <= 100'000; ++i) {
    index.add({i}, 0, {static_cast<std::int64_t>(i)}, true);
    if (i % 2 == 0) {
      REQUIRE(index.remove({i}));
    } else {
      REQUIRE(index.wake({static_cast<std::int64_t>(i)}));
    }
  }
  CHECK(index.size() == 1);
  CHECK(index.is_sound());
}

}  // namespace dmq
