// The checker sees each kind of broken promise, and nothing in a history that keeps them all.
#include "tests/cluster/history.hpp"

#include <catch2/catch.hpp>

using namespace dmq::cluster;

namespace {

constexpr MessageName m0{1, 7, 0};
constexpr MessageName m1{1, 7, 1};

// Two messages to queue 1, sent and confirmed.
History two_confirmed() {
  History history(true);
  for (const MessageName& name : {m0, m1}) {
    history.sent(name);
    history.confirmed(name);
  }
  return history;
}

}  // namespace

TEST_CASE("a history without a fault has no violations", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(m0, 1, "a", history.receive_begins());
  history.delivered(m0, 1, "a", history.receive_begins());  // its lease ended
  history.delivered(m1, 1, "b", history.receive_begins());
  history.acked(1, "a");
  history.acked(1, "b");
  const Counts counts = history.result();
  CHECK(counts.violations() == 0);
  CHECK(counts.sent == 2);
  CHECK(counts.confirmed == 2);
  CHECK(counts.delivered == 2);
  CHECK(counts.redelivered == 1);
  CHECK(counts.acked == 2);
  CHECK(history.examples().empty());
}

TEST_CASE("a confirmed message that never came is lost", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(m0, 1, "a", history.receive_begins());
  CHECK(history.result().lost == 1);
  CHECK(history.examples() == std::vector<std::string>{"lost: queue 1, producer 7, counter 1"});
}

TEST_CASE("an unconfirmed message may come or not", "[cluster][history]") {
  History history(true);
  history.sent(m0);
  history.sent(m1);
  history.unconfirmed(m0);
  history.unconfirmed(m1);
  history.delivered(m1, 1, "b", history.receive_begins());
  CHECK(history.result().violations() == 0);
  CHECK(history.result().unconfirmed == 2);
}

TEST_CASE("what was never sent, was changed or lies in another queue is invented", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(MessageName{1, 7, 2}, 1, "c", history.receive_begins());
  history.delivered(MessageName{1, 8, 0}, 1, "d", history.receive_begins());
  history.delivered(std::nullopt, 1, "e", history.receive_begins());
  history.delivered(m0, 2, "f", history.receive_begins());
  CHECK(history.result().invented == 4);
}

TEST_CASE("one message under two ids is doubled", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(m0, 1, "a", history.receive_begins());
  history.delivered(m0, 1, "b", history.receive_begins());
  CHECK(history.result().doubled == 1);
}

TEST_CASE("one id for two messages is reused", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(m0, 1, "a", history.receive_begins());
  history.delivered(m1, 1, "a", history.receive_begins());
  CHECK(history.result().reused == 1);
}

TEST_CASE("a delivery undoes an ack only when its receive began afterwards", "[cluster][history]") {
  History history = two_confirmed();
  history.delivered(m0, 1, "a", history.receive_begins());
  const History::Moment before = history.receive_begins();
  history.acked(1, "a");
  history.delivered(m0, 1, "a", before);
  CHECK(history.result().undone == 0);
  history.delivered(m0, 1, "a", history.receive_begins());
  CHECK(history.result().undone == 1);
}

TEST_CASE("a first delivery behind that of a later message is disordered where order is promised",
          "[cluster][history]") {
  for (const bool in_order : {true, false}) {
    History history(in_order);
    history.sent(m0);
    history.sent(m1);
    history.delivered(m1, 1, "b", history.receive_begins());
    history.delivered(m0, 1, "a", history.receive_begins());
    CHECK(history.result().disordered == (in_order ? 1 : 0));
  }
}

TEST_CASE("a body is known by its bytes", "[cluster][history]") {
  for (std::uint64_t counter = 0; counter < 200; ++counter) {
    const MessageName name{3, 2, counter};
    std::string body = make_body(name, 99);
    CHECK(read_body(body, 99) == name);
    CHECK_FALSE((body.size() > 40 && read_body(body, 98) == name));
    body.back() = static_cast<char>(body.back() ^ 1);
    CHECK_FALSE(read_body(body, 99) == name);
    body.pop_back();
    CHECK_FALSE(read_body(body, 99) == name);
  }
}

TEST_CASE("messages of one producer that are stored in another order are disordered", "[cluster][history]") {
  History history(false);  // deliveries may come in any order; places in the log may not
  for (const MessageName& name : {m0, m1}) history.sent(name);
  SECTION("as sent") {
    history.delivered(m1, 1, "5-10", history.receive_begins());
    history.delivered(m0, 1, "5-9", history.receive_begins());
    CHECK(history.result().violations() == 0);
  }
  SECTION("the other way") {
    history.delivered(m0, 1, "5-10", history.receive_begins());
    history.delivered(m1, 1, "5-9", history.receive_begins());
    CHECK(history.result().disordered == 1);
    CHECK(history.examples() ==
          std::vector<std::string>{"disordered: queue 1, producer 7, counter 1 is stored before an earlier one"});
  }
}
