// The requests of a client that wait for replies: repeats, backoff and time.
#include "clients/cpp/request_table.hpp"

#include <catch2/catch.hpp>

using namespace dmq;

namespace {

Request request(std::uint64_t id, std::int64_t give_up_at = 1000) {
  Request made;
  made.id = id;
  made.answer_within = DurationMs{100};
  made.reach_within = DurationMs{1000};
  made.give_up_at = TimeMs{give_up_at};
  return made;
}

}  // namespace

TEST_CASE("a request goes out once, and again with the same id when the link was lost", "[client]") {
  RequestTable table;
  table.add(request(7), TimeMs{0});
  CHECK(table.next_request(TimeMs{0})->id == 7);
  CHECK(table.next_request(TimeMs{0}) == nullptr);
  table.on_link_lost(TimeMs{1});
  const Request* again = table.next_request(TimeMs{1});
  REQUIRE(again != nullptr);
  CHECK(again->id == 7);
  CHECK(again->tries == 2);
}

TEST_CASE("a retry that the broker asked for waits a moment", "[client]") {
  RequestTable table;
  table.add(request(7), TimeMs{0});
  table.next_request(TimeMs{0});
  table.retry_later(*table.take(7), TimeMs{10});
  CHECK(table.next_request(TimeMs{10}) == nullptr);
  REQUIRE(table.next_deadline());
  CHECK(table.next_request(*table.next_deadline())->id == 7);
}

TEST_CASE("a request without a reply makes the table late and at last expires", "[client]") {
  RequestTable table;
  table.add(request(7, 500), TimeMs{0});
  table.next_request(TimeMs{0});
  CHECK_FALSE(table.is_late(TimeMs{99}));
  CHECK(table.is_late(TimeMs{100}));
  CHECK_FALSE(table.take_expired(TimeMs{499}));
  CHECK(table.take_expired(TimeMs{500})->id == 7);
  CHECK(table.empty());
}

TEST_CASE("a reply finds its request whatever the order", "[client]") {
  RequestTable table;
  for (std::uint64_t id = 1; id <= 3; ++id) table.add(request(id), TimeMs{0});
  CHECK(table.take(2)->id == 2);
  CHECK_FALSE(table.take(2));
  CHECK(table.take(1)->id == 1);
  CHECK(table.take(3)->id == 3);
}

TEST_CASE("a long wait counts only once a broker has the request", "[client]") {
  RequestTable table;
  table.add(request(7, 6000), TimeMs{0});  // it may be reached within 1,000 and wait 5,000
  CHECK(table.next_deadline() == TimeMs{1000});
  CHECK_FALSE(table.take_expired(TimeMs{999}));
  table.next_request(TimeMs{999});
  CHECK_FALSE(table.take_expired(TimeMs{5999}));
  table.on_link_lost(TimeMs{2000});
  CHECK_FALSE(table.take_expired(TimeMs{2999}));
  CHECK(table.take_expired(TimeMs{3000})->id == 7);
}

TEST_CASE("a request that goes out again and again ends all the same", "[client]") {
  RequestTable table;
  table.add(request(7, 1500), TimeMs{0});
  for (const std::int64_t at : {0, 800, 1499}) {
    table.next_request(TimeMs{at});
    table.on_link_lost(TimeMs{at});
  }
  CHECK(table.take_expired(TimeMs{1500})->id == 7);
}
