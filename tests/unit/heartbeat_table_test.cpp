// Signs of consumers: when they go out, and when no more.
#include "clients/cpp/heartbeat_table.hpp"

#include <catch2/catch.hpp>

using namespace dmq;

namespace {

constexpr DurationMs kSilence{900};

HeartbeatTable table_with_a() {
  HeartbeatTable table;
  table.note_sign("q", "a", kSilence, TimeMs{0});
  return table;
}

}  // namespace

TEST_CASE("a heartbeat goes out after a third of the silence, and again a third after that", "[client]") {
  HeartbeatTable table = table_with_a();
  CHECK(table.next_deadline() == TimeMs{300});
  CHECK_FALSE(table.next_due(TimeMs{299}));
  const auto heartbeat = table.next_due(TimeMs{310});
  REQUIRE(heartbeat);
  CHECK(heartbeat->queue + heartbeat->consumer == "qa");
  CHECK(heartbeat->silence == kSilence);
  CHECK_FALSE(table.next_due(TimeMs{5000}));  // under way
  CHECK_FALSE(table.next_deadline());
  table.on_answer(*heartbeat);
  CHECK(table.next_deadline() == TimeMs{610});
  CHECK(table.next_due(TimeMs{610}));
}

TEST_CASE("each receive is a sign too, so that no heartbeat is due for a while", "[client]") {
  HeartbeatTable table = table_with_a();
  table.note_sign("q", "a", kSilence, TimeMs{200});
  CHECK_FALSE(table.next_due(TimeMs{499}));
  const auto heartbeat = table.next_due(TimeMs{500});
  REQUIRE(heartbeat);
  table.note_sign("q", "a", kSilence, TimeMs{700});
  table.on_answer(*heartbeat);
  CHECK(table.next_deadline() == TimeMs{1000});
}

TEST_CASE("a heartbeat without an answer is tried again soon, one that is refused for good is not", "[client]") {
  HeartbeatTable table = table_with_a();
  const auto first = table.next_due(TimeMs{300});
  REQUIRE(first);
  table.on_failure(*first, true, TimeMs{400});
  CHECK(table.next_deadline() == TimeMs{551});
  const auto second = table.next_due(TimeMs{551});
  REQUIRE(second);
  table.on_failure(*second, false, TimeMs{552});
  CHECK_FALSE(table.next_deadline());
  table.on_answer(*second);  // late, of nobody
  CHECK_FALSE(table.next_due(TimeMs{9000}));
}

TEST_CASE("consumers have heartbeats of their own, until all end", "[client]") {
  HeartbeatTable table = table_with_a();
  table.note_sign("q", "b", DurationMs{300}, TimeMs{0});
  table.note_sign("p", "a", kSilence, TimeMs{0});
  CHECK(table.next_due(TimeMs{100})->consumer == "b");
  CHECK_FALSE(table.next_due(TimeMs{100}));
  CHECK(table.next_due(TimeMs{300})->queue == "p");
  CHECK(table.next_due(TimeMs{300})->queue == "q");
  table.clear();
  CHECK_FALSE(table.next_due(TimeMs{9000}));
}

TEST_CASE("a silence of a moment does not make heartbeats without end", "[client]") {
  HeartbeatTable table;
  table.note_sign("q", "a", DurationMs{1}, TimeMs{0});
  CHECK(table.next_deadline() == TimeMs{1});
}
