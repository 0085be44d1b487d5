// Sequences of producers: nothing twice, nothing skipped, nothing forgotten too early.
#include "storage/producers.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

constexpr QueueId kQueue{5};
constexpr TimeMs kNow{1000};
constexpr Lsn kForgotten{50};  // the record that forgets

// Requests go to the log at once; commit() applies them.
struct Bench {
  Producers producers{{0}};
  std::vector<std::tuple<Producers::Row*, Sequence, Lsn>> waiting;
  std::uint64_t next_lsn = 1;

  std::string admit(std::uint64_t first, std::size_t count, std::string_view name = "p", QueueId queue = kQueue) {
    const auto taken = producers.admit(queue, name, {first}, count);
    if (!taken) return std::string(code_name(taken.error().code));
    if (taken->duplicates < count) {
      const Sequence last{first + count - 1};
      Producers::logged(*taken->row, last, {next_lsn});
      waiting.emplace_back(taken->row, last, Lsn{next_lsn++});
    }
    return std::to_string(taken->duplicates) + " known";
  }
  void commit() {
    for (const auto& [row, last, lsn] : waiting) Producers::apply(*row, last, kNow, lsn);
    waiting.clear();
  }
  void roll_back() {
    waiting.clear();
    producers.roll_back();
    producers.prune();
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
  b.roll_back();
  CHECK(b.admit(3, 2) == "0 known");
  CHECK(b.admit(1, 1, "fresh") == "0 known");
}

std::function<bool(const Producers::Row&)> heard_before(TimeMs time) {
  return [time](const Producers::Row& row) { return row.second.applied.used_ms < time; };
}

TEST_CASE("idle producers are looked for a part at a time, round after round", "[storage][producers]") {
  Producers producers{{0}};
  for (const char* name : {"a", "b", "c", "d", "e"}) producers.restore({{0}, kQueue, name}, {{1}, kNow, {1}});
  const auto next = [&](std::size_t rows) {
    std::string names;
    for (const auto& [queue, found] : producers.idle(rows, heard_before({kNow.value + 1}))) {
      for (const std::string& name : found) names += name;
    }
    return names;
  };
  CHECK(next(2) == "ab");
  producers.forget(kQueue, "c", kForgotten);
  CHECK(next(2) == "de");
  CHECK(next(10) == "abde");
}

TEST_CASE("an idle producer is forgotten, one with a commit under way is not", "[storage][producers]") {
  Bench b;
  b.admit(1, 1);
  CHECK(b.producers.idle(10, heard_before({kNow.value + 1})).empty());
  b.commit();
  CHECK(b.producers.idle(10, heard_before(kNow)).empty());
  CHECK(b.producers.idle(10, heard_before({kNow.value + 1})).at(kQueue) == std::vector<std::string>{"p"});
  SECTION("it is gone afterwards") {
    b.producers.forget(kQueue, "p", kForgotten);
    CHECK(b.producers.size() == 0);
  }
  SECTION("it stays when it sent again meanwhile") {
    CHECK(b.admit(2, 1) == "0 known");
    b.producers.forget(kQueue, "p", kForgotten);
    b.commit();
    CHECK(b.admit(2, 1) == "1 known");
  }
}

TEST_CASE("a follower's table is made by the records alone", "[storage][producers]") {
  Producers producers{{0}};
  Producers::Row* const row = producers.logged(kQueue, "p", {1}, {1});
  CHECK(producers.logged(kQueue, "p", {2}, {2}) == row);
  CHECK(producers.admit(kQueue, "p", {1}, 3)->duplicates == 2);
  producers.roll_back();  // both were cut off
  Producers::logged(*row, {1}, {1});
  producers.prune();
  CHECK(producers.admit(kQueue, "p", {1}, 3)->duplicates == 1);
}

TEST_CASE("catching up, a follower keeps a producer that sent again after it was forgotten", "[storage][producers]") {
  Producers follower{{0}};
  // The leader's answer: its log has a record that forgets p, and behind it a message of p that is
  // settled and does not come any more.
  follower.catch_up(kQueue, "p", {{3}, kNow, {60}});
  CHECK_FALSE(follower.forget(kQueue, "p", kForgotten));
  CHECK(follower.since({}).size() == 1);
  // What it was told of from before the record goes.
  follower.catch_up(kQueue, "q", {{7}, kNow, {10}});
  CHECK(follower.forget(kQueue, "q", kForgotten));
  CHECK(follower.size() == 1);
}

TEST_CASE("the number of producers is bounded", "[storage][producers]") {
  Bench b;
  for (std::size_t i = 0; i < kProducersMax; ++i)
    b.producers.restore({{0}, kQueue, std::to_string(i)}, {{1}, kNow, {1}});
  CHECK(b.admit(1, 1, "one more") == "unavailable");
  CHECK(b.admit(2, 1, "7") == "0 known");
}

TEST_CASE("a deleted queue takes its producers with it, others stay", "[storage][producers]") {
  Bench b;
  b.admit(1, 1);
  b.admit(1, 1, "p", {6});
  b.commit();
  WriteBatch writes;
  b.producers.forget_queue(kQueue, kForgotten, writes);
  CHECK(writes.forgotten_producers == std::vector<ProducerKey>{{{0}, kQueue, "p"}});
  CHECK(b.producers.size() == 1);
}

TEST_CASE("a producer that is forgotten and sends the same number again keeps its row", "[storage][producers]") {
  Producers producers{{0}};
  producers.restore({{0}, kQueue, "p"}, {{1}, kNow, {2}});
  producers.logged_forget(kQueue, "p", kForgotten);
  Producers::Row* const row = producers.logged(kQueue, "p", {1}, {60});  // the log goes on before the first is applied
  CHECK(producers.forget(kQueue, "p", kForgotten));
  REQUIRE(producers.size() == 1);
  Producers::apply(*row, {1}, TimeMs{6000}, {60});
  CHECK(producers.admit(kQueue, "p", {1}, 1)->duplicates == 1);
  CHECK(producers.idle(10, heard_before(TimeMs{9000})).size() == 1);
}

TEST_CASE("behind a record that forgets it a producer counts anew, also before that is applied",
          "[storage][producers]") {
  Producers producers{{0}};
  producers.restore({{0}, kQueue, "p"}, {{5}, kNow, {6}});
  const auto known = [&](std::uint64_t first) {
    const auto taken = producers.admit(kQueue, "p", {first}, 1);
    return taken ? std::to_string(taken->duplicates) + " known" : std::string(code_name(taken.error().code));
  };
  SECTION("by its name") { producers.logged_forget(kQueue, "p", kForgotten); }
  SECTION("with its queue") { producers.logged_forget_queue(kQueue, kForgotten); }
  CHECK(known(6) == "out_of_sequence");
  CHECK(known(1) == "0 known");
  producers.logged(kQueue, "p", {1}, {60});
  CHECK(known(1) == "1 known");
  CHECK(known(2) == "0 known");
  producers.roll_back();  // the record was cut off
  CHECK(known(5) == "1 known");
}

TEST_CASE("what another replica tells of a producer that began anew is not undone by older records",
          "[storage][producers]") {
  Producers producers{{0}};
  Producers::Row* const row = producers.logged(kQueue, "p", {5}, {10});
  producers.catch_up(kQueue, "p", {{1}, kNow, {61}});
  producers.roll_back();
  Producers::logged(*row, {5}, {10});
  Producers::apply(*row, {5}, kNow, {10});
  CHECK_FALSE(producers.forget(kQueue, "p", kForgotten));
  CHECK(row->second.applied == ProducerState{{1}, kNow, {61}});
  CHECK(producers.admit(kQueue, "p", {2}, 1)->duplicates == 0);
}

}  // namespace dmq
