// Sequences of producers: nothing twice, nothing skipped, nothing forgotten too early.
#include "storage/producers.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

constexpr QueueId kQueue{5};
constexpr TimeMs kNow{1000};

struct Bench {
  Producers producers{{0}};
  WriteBatch writes;

  std::string admit(std::uint64_t first, std::size_t count, std::string_view name = "p") {
    const auto taken = producers.admit(kQueue, name, {first}, count, kNow, writes);
    return taken ? std::to_string(*taken) + " known" : std::string(code_name(taken.error().code));
  }
  void commit() {
    producers.committed(writes);
    writes = {};
  }
};

}  // namespace

TEST_CASE("a producer's sequence goes on without gaps", "[storage][producers]") {
  Bench b;
  CHECK(b.admit(2, 1) == "out_of_sequence");
  CHECK(b.admit(1, 3) == "0 known");
  CHECK(b.admit(4, 1) == "0 known");
  CHECK(b.admit(6, 1) == "out_of_sequence");
  CHECK(b.admit(5, 1, "other") == "out_of_sequence");
}

TEST_CASE("a repeated request is known, also while its commit is under way", "[storage][producers]") {
  Bench b;
  CHECK(b.admit(1, 3) == "0 known");
  CHECK(b.admit(1, 3) == "3 known");
  b.commit();
  CHECK(b.admit(1, 3) == "3 known");
  CHECK(b.admit(2, 1) == "1 known");
  CHECK(b.admit(2, 4) == "2 known");
}

TEST_CASE("after a failed commit the same request is new again", "[storage][producers]") {
  Bench b;
  CHECK(b.admit(1, 2) == "0 known");
  b.commit();
  CHECK(b.admit(3, 2) == "0 known");
  CHECK(b.admit(1, 1, "fresh") == "0 known");
  b.producers.roll_back();
  CHECK(b.admit(3, 2) == "0 known");
  CHECK(b.admit(1, 1, "fresh") == "0 known");
}

TEST_CASE("an idle producer is forgotten, one with a commit under way is not", "[storage][producers]") {
  Bench b;
  b.admit(1, 1);
  b.commit();
  b.producers.forget_idle(kNow, 10, b.writes);
  CHECK(b.writes.forgotten_producers.empty());
  b.producers.forget_idle({kNow.value + 1}, 10, b.writes);
  CHECK(b.writes.forgotten_producers.size() == 1);
  SECTION("it is gone after the commit") {
    b.commit();
    CHECK(b.producers.size() == 0);
  }
  SECTION("it stays when it sends again before the commit") {
    CHECK(b.admit(2, 1) == "0 known");
    b.commit();
    CHECK(b.admit(2, 1) == "1 known");
  }
}

TEST_CASE("the number of producers is bounded", "[storage][producers]") {
  Bench b;
  for (std::size_t i = 0; i < kProducersMax; ++i) b.producers.restore({{0}, kQueue, std::to_string(i)}, {{1}, kNow});
  CHECK(b.admit(1, 1, "one more") == "unavailable");
  CHECK(b.admit(2, 1, "7") == "0 known");
}

TEST_CASE("a deleted queue takes its producers with it, others stay", "[storage][producers]") {
  Bench b;
  b.admit(1, 1);
  b.producers.admit({6}, "p", {1}, 1, kNow, b.writes);
  b.commit();
  b.producers.forget_queue(kQueue, b.writes);
  b.commit();
  CHECK(b.producers.size() == 1);
}

}  // namespace dmq
