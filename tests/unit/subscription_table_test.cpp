// The subscriptions of a client: when they are asked for, and what ends them.
#include "clients/cpp/subscription_table.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

constexpr TimeMs kStart{1000};
constexpr DurationMs kAgain{100};
constexpr DurationMs kThird{SubscriptionTable::kLasts.value / 3};

struct Table : SubscriptionTable {
  Table() { add(7, {"q", "name", {}, {}}, kStart); }
};

}  // namespace

TEST_CASE("a subscription is asked for at once, and again after a third of its time", "[client]") {
  Table table;
  CHECK(table.next_deadline() == kStart);
  CHECK_FALSE(table.next_due(kStart + DurationMs{-1}));
  CHECK(table.next_due(kStart) == 7);
  CHECK_FALSE(table.next_due(kStart + kThird));  // its reply is to come first
  CHECK_FALSE(table.next_deadline());
  table.on_answer(7, kStart);
  CHECK(table.next_deadline() == kStart + kThird);
  CHECK_FALSE(table.next_due(kStart + kThird + DurationMs{-1}));
  CHECK(table.next_due(kStart + kThird) == 7);
  SECTION("a message is no answer, but one to a request is") {
    table.on_answer(7, kStart + kThird);
    table.on_answer(7, kStart + kThird + DurationMs{50});
    CHECK(table.next_deadline() == kStart + kThird + kThird);
  }
}

TEST_CASE("a subscription that ended is asked for again, a moment later", "[client]") {
  Table table;
  table.next_due(kStart);
  table.on_end(7, kStart);
  CHECK_FALSE(table.next_due(kStart + kAgain + DurationMs{-1}));
  CHECK(table.next_due(kStart + kAgain) == 7);
}

TEST_CASE("with another router a subscription is asked for at once", "[client]") {
  Table table;
  table.next_due(kStart);
  table.on_answer(7, kStart);
  table.on_link_lost(kStart + DurationMs{5});
  CHECK(table.next_due(kStart + DurationMs{5}) == 7);
}

TEST_CASE("one that nobody wants is not asked for, and known until it is taken", "[client]") {
  Table table;
  CHECK(table.find("q") == 7);
  CHECK_FALSE(table.find("other"));
  CHECK(table.any() == 7);
  table.leave(7);
  table.leave(8);
  CHECK(table.is_left(7));
  CHECK_FALSE(table.is_left(8));
  CHECK_FALSE(table.find("q"));
  CHECK_FALSE(table.any());
  CHECK_FALSE(table.next_due(kStart));
  CHECK_FALSE(table.next_deadline());
  CHECK(table.find(7) != nullptr);
  CHECK(table.find(8) == nullptr);
  CHECK(table.take(7)->queue == "q");
  CHECK_FALSE(table.take(7));
  CHECK(table.empty());
}

}  // namespace dmq
