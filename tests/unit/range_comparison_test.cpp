// Whose copy is doubted when replicas compare a range.
#include "storage/range_comparison.hpp"

#include <catch2/catch.hpp>

#include "protocol/limits.hpp"

namespace dmq {
namespace {

const LogRange kRange{{1}, {100}};

// "leader" or the followers that are doubted.
std::string text_of(const std::optional<RangeComparison::Doubt>& doubt) {
  if (!doubt) return "equal or open";
  CHECK(doubt->range == kRange);
  std::string out = doubt->leader ? "leader" : "";
  for (const std::string& name : doubt->followers) out += (out.empty() ? "" : " ") + name;
  return out;
}

}  // namespace

TEST_CASE("equal copies raise no doubt", "[storage][comparison]") {
  RangeComparison comparison;
  comparison.begin({7}, kRange, 1);
  CHECK(text_of(comparison.take("b", {7}, 1, {"b", "c"})) == "equal or open");
  CHECK(text_of(comparison.take("c", {7}, 1, {"b", "c"})) == "equal or open");
}

TEST_CASE("the copy that most are against is doubted, and of two the follower's", "[storage][comparison]") {
  RangeComparison comparison;
  comparison.begin({7}, kRange, 1);
  comparison.begin({8}, kRange, 1);
  comparison.begin({9}, kRange, 1);
  comparison.begin({10}, kRange, 1);
  CHECK(text_of(comparison.take("b", {7}, 2, {"b", "c"})) == "equal or open");
  CHECK(text_of(comparison.take("c", {7}, 1, {"b", "c"})) == "b");
  CHECK(text_of(comparison.take("b", {8}, 2, {"b", "c"})) == "equal or open");
  CHECK(text_of(comparison.take("c", {8}, 2, {"b", "c"})) == "leader");
  CHECK(text_of(comparison.take("b", {9}, 2, {"b"})) == "b");
  CHECK(text_of(comparison.take("b", {10}, 2, {"b", "c"})) == "equal or open");
  CHECK(text_of(comparison.take("c", {10}, 3, {"b", "c"})) == "b c");
}

TEST_CASE("a word counts for the place that it names, once, and not for ever", "[storage][comparison]") {
  RangeComparison comparison;
  comparison.begin({7}, kRange, 1);
  CHECK(text_of(comparison.take("b", {6}, 2, {"b"})) == "equal or open");
  CHECK(text_of(comparison.take("b", {7}, 2, {"b"})) == "b");
  CHECK(text_of(comparison.take("b", {7}, 2, {"b"})) == "equal or open");
  for (std::uint64_t at = 100; at <= 100 + RangeComparison::kOpenMax; ++at) comparison.begin({at}, kRange, 1);
  CHECK(text_of(comparison.take("b", {100}, 2, {"b"})) == "equal or open");
  CHECK(text_of(comparison.take("b", {101}, 2, {"b"})) == "b");
}

TEST_CASE("who fetched the log up to a place has no word on what was there", "[storage][comparison]") {
  RangeComparison comparison;
  comparison.begin({7}, kRange, 1);
  comparison.begin({8}, kRange, 1);
  comparison.begin({12}, kRange, 1);
  comparison.served("b", {10});
  CHECK(text_of(comparison.take("b", {7}, 2, {"b"})) == "equal or open");
  CHECK(text_of(comparison.take("b", {8}, 2, {"b", "c"})) == "equal or open");
  CHECK(text_of(comparison.take("c", {8}, 3, {"b", "c"})) == "c");
  CHECK(text_of(comparison.take("b", {12}, 2, {"b"})) == "b");
}

TEST_CASE("a range's hash tells places, contents and states apart", "[storage][comparison]") {
  const auto hash = [](Lsn lsn, std::string_view record, std::string_view state) {
    RangeHasher hasher;
    hasher.add(lsn, record, state);
    return hasher.finish();
  };
  const std::uint64_t one = hash({1}, "checksumbody", "");
  CHECK(one < kNumberMax);
  CHECK(one == hash({1}, "checksumrest", ""));  // the checksum stands for all of it
  CHECK(one != hash({2}, "checksumbody", ""));
  CHECK(one != hash({1}, "checksunbody", ""));
  CHECK(one != hash({1}, "checksumbody", "once"));
  CHECK(RangeHasher().finish() != one);
}

}  // namespace dmq
