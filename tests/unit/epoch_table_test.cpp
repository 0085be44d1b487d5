// Where two logs part, from the terms that each has records of.
#include "storage/epoch_table.hpp"

#include <catch2/catch.hpp>

namespace dmq {

TEST_CASE("a record's term is that of the last start before it", "[storage][epochs]") {
  const EpochTable table({{{2}, {1}}, {{5}, {10}}});
  CHECK(table.at({0}) == Epoch{0});
  CHECK(table.at({1}) == Epoch{2});
  CHECK(table.at({9}) == Epoch{2});
  CHECK(table.at({10}) == Epoch{5});
  CHECK(EpochTable().at({7}) == Epoch{0});
}

TEST_CASE("a term without records leaves no entry", "[storage][epochs]") {
  EpochTable table;
  table.add({1}, {1});
  table.add({2}, {1});
  table.add({2}, {4});  // known
  table.add({3}, {6});
  CHECK(table.starts() == std::vector<EpochStart>{{{2}, {1}}, {{3}, {6}}});
}

TEST_CASE("the end of a term is where the next begins, or the log's", "[storage][epochs]") {
  const EpochTable table({{{2}, {1}}, {{5}, {10}}});
  const auto end = [&](std::uint32_t epoch) {
    const auto [found, at] = table.end_of({epoch}, {20});
    return std::pair(found.value, at.value);
  };
  CHECK(end(1) == std::pair(0u, std::uint64_t{1}));
  CHECK(end(2) == std::pair(2u, std::uint64_t{10}));
  CHECK(end(4) == std::pair(2u, std::uint64_t{10}));
  CHECK(end(5) == std::pair(5u, std::uint64_t{20}));
  CHECK(end(9) == std::pair(5u, std::uint64_t{20}));
}

TEST_CASE("cutting a log forgets the terms behind", "[storage][epochs]") {
  EpochTable table({{{2}, {1}}, {{5}, {10}}, {{6}, {12}}});
  table.cut({12});
  CHECK(table.last() == Epoch{5});
  table.cut({10});
  CHECK(table.last() == Epoch{2});
  table.cut({1});
  CHECK(table.last() == Epoch{0});
}

}  // namespace dmq
