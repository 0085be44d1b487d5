// The requests of a client that wait for replies: repeats, backoff and time.
#include "clients/cpp/request_table.hpp"

#include <catch2/catch.hpp>

using namespace dmq;

namespace {

Request request(std::uint64_t id, std::int64_t give_up_at = 1000) {
  Request made;
  made.id = id;
  made.answer_within = DurationMs{100};
  made.give_up_at = TimeMs{give_up_at};
  return made;
}

}  // namespace

TEST_CASE("a request goes out once, and again with the same id when the link was lost", "[client]") {
  RequestTable table;
  table.add(request(7));
  CHECK(table.next_request(TimeMs{0})->id == 7);
  CHECK(table.next_request(TimeMs{0}) == nullptr);
  table.on_link_lost();
  const Request* again = table.next_request(TimeMs{1});
  REQUIRE(again != nullptr);
  CHECK(again->id == 7);
  CHECK(again->tries == 2);
}

TEST_CASE("a retry that the broker asked for waits a moment", "[client]") {
  RequestTable table;
  table.add(request(7));
  table.next_request(TimeMs{0});
  table.retry_later(*table.take(7), TimeMs{10});
  CHECK(table.next_request(TimeMs{10}) == nullptr);
  REQUIRE(table.next_deadline());
  CHECK(table.next_request(*table.next_deadline())->id == 7);
}

TEST_CASE("a request without a reply makes the table late and at last expires", "[client]") {
  RequestTable table;
  table.add(request(7, 500));
  table.next_request(TimeMs{0});
  CHECK_FALSE(table.is_late(TimeMs{99}));
  CHECK(table.is_late(TimeMs{100}));
  CHECK_FALSE(table.take_expired(TimeMs{499}));
  CHECK(table.take_expired(TimeMs{500})->id == 7);
  CHECK(table.empty());
}

TEST_CASE("a reply finds its request whatever the order", "[client]") {
  RequestTable table;
  for (std::uint64_t id = 1; id <= 3; ++id) table.add(request(id));
  CHECK(table.take(2)->id == 2);
  CHECK_FALSE(table.take(2));
  CHECK(table.take(1)->id == 1);
  CHECK(table.take(3)->id == 3);
}
