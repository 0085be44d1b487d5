// The lanes of ready messages: shares of priorities, and what lies in them in vain.
#include "storage/ready_lanes.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

std::map<int, int> given(ReadyLanes& lanes, int count) {
  std::map<int, int> out;
  for (int i = 0; i < count && !lanes.empty(); ++i) {
    ++out[lanes.first()->priority];
    lanes.pop();
  }
  return out;
}

}  // namespace

TEST_CASE("with weights each priority gets its share", "[storage][queue]") {
  ReadyLanes lanes;
  PriorityWeights weights;
  weights.fill(1);
  weights[9] = 6;
  weights[5] = 3;
  lanes.set_weights(weights);
  for (std::uint64_t i = 0; i < 3000; ++i)
    lanes.append({i + 1}, static_cast<Priority>(i % 3 == 0 ? 9 : i % 3 == 1 ? 5 : 0));
  auto out = given(lanes, 1000);
  CHECK(out[9] == 600);
  CHECK(out[5] == 300);
  CHECK(out[0] == 100);
  out = given(lanes, 5000);  // once a lane is empty the others share what there is
  CHECK(out[9] == 400);
  CHECK(out[5] == 700);
  CHECK(out[0] == 900);
  CHECK(lanes.empty());
}

TEST_CASE("a share is not saved up while there is nothing to give", "[storage][queue]") {
  ReadyLanes lanes;
  PriorityWeights weights;
  weights.fill(1);
  lanes.set_weights(weights);
  for (std::uint64_t i = 1; i <= 1000; ++i) lanes.append({i}, 1);
  given(lanes, 900);
  for (std::uint64_t i = 1001; i <= 1100; ++i) lanes.append({i}, 0);
  auto out = given(lanes, 100);
  CHECK(out[0] == 50);
  CHECK(out[1] == 50);
}

TEST_CASE("without weights a lower priority waits", "[storage][queue]") {
  ReadyLanes lanes;
  for (std::uint64_t i = 1; i <= 10; ++i) lanes.append({i}, static_cast<Priority>(i % 2));
  auto out = given(lanes, 5);
  CHECK(out[1] == 5);
  CHECK(out[0] == 0);
}

TEST_CASE("messages that go from the middle of a lane do not stay in memory", "[storage][queue]") {
  ReadyLanes lanes;
  lanes.append({1}, 0);
  for (std::uint64_t i = 2; i <= 100'000; ++i) {
    lanes.append({i}, 0);
    REQUIRE(lanes.remove({i}) == Priority{0});
  }
  CHECK(lanes.size() == 1);
  CHECK(lanes.is_sound());
  CHECK_FALSE(lanes.contains({50'000}));
  CHECK_FALSE(lanes.remove({50'000}));
  CHECK(lanes.first()->lsn == Lsn{1});
}

}  // namespace dmq
