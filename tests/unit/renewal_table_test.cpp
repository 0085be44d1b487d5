// Leases that are kept: when they are renewed, and when they are lost.
#include "clients/cpp/renewal_table.hpp"

#include <catch2/catch.hpp>

using namespace dmq;

namespace {

constexpr std::uint64_t kBatch = 7;
const Failure kUnreachable{"unreachable", "nobody there", true};

RenewalBatch batch(std::vector<std::string> receipts, std::int64_t lease_ms = 1000) {
  RenewalBatch made{"q", DurationMs{lease_ms}, {}, {}};
  for (const std::string& receipt : receipts) made.held.emplace(receipt, "id of " + receipt);
  return made;
}

RenewalTable table_with(std::vector<std::string> receipts) {
  RenewalTable table;
  table.add(kBatch, batch(std::move(receipts)), TimeMs{0});
  return table;
}

// "a: stale_receipt; b: timeout"
std::string text_of(const LostLeases& lost) {
  std::string text;
  for (const LostLease& lease : lost.leases)
    text += (text.empty() ? "" : "; ") + lease.receipt + ": " + lease.failure.code;
  return text;
}

}  // namespace

TEST_CASE("a lease is renewed at half of its time, and again half a lease after that was asked for", "[client]") {
  RenewalTable table = table_with({"a", "b"});
  CHECK(table.next_deadline() == TimeMs{500});
  CHECK_FALSE(table.next_due(TimeMs{499}));
  const auto renewal = table.next_due(TimeMs{510});
  REQUIRE(renewal);
  CHECK(renewal->queue == "q");
  CHECK(renewal->lease == DurationMs{1000});
  CHECK(renewal->receipts == std::vector<std::string>{"a", "b"});
  CHECK_FALSE(table.next_due(TimeMs{600}));  // under way
  CHECK(text_of(table.on_answer(kBatch, {})).empty());
  CHECK(table.next_deadline() == TimeMs{1010});
  CHECK_FALSE(table.next_due(TimeMs{1009}));
  CHECK(table.next_due(TimeMs{1010}));
}

TEST_CASE("a settled lease is renewed no more, and with the last one the batch is gone", "[client]") {
  RenewalTable table = table_with({"a", "b"});
  table.drop(kBatch, "a");
  table.drop(kBatch, "never there");
  CHECK(table.next_due(TimeMs{500})->receipts == std::vector<std::string>{"b"});
  table.drop(kBatch, "b");
  CHECK(table.empty());
  CHECK_FALSE(table.next_deadline());
  // What comes back for it then says nothing to nobody.
  CHECK(text_of(table.on_answer(kBatch, {"b"})).empty());
  CHECK(text_of(table.on_failure(kBatch, kUnreachable, TimeMs{600})).empty());
}

TEST_CASE("a stale receipt is lost once and the rest of its batch is kept", "[client]") {
  RenewalTable table = table_with({"a", "b"});
  table.next_due(TimeMs{500});
  const LostLeases lost = table.on_answer(kBatch, {"a"});
  CHECK(text_of(lost) == "a: stale_receipt");
  CHECK(lost.leases[0].id == "id of a");
  CHECK(lost.leases[0].queue == "q");
  CHECK(table.next_due(TimeMs{1000})->receipts == std::vector<std::string>{"b"});
}

TEST_CASE("a lease that was settled while its renewal was under way is not lost", "[client]") {
  RenewalTable table = table_with({"a", "b"});
  table.next_due(TimeMs{500});
  table.drop(kBatch, "a");
  CHECK(text_of(table.on_answer(kBatch, {"a"})).empty());
}

TEST_CASE("a renewal that failed is tried again until the lease is over", "[client]") {
  RenewalTable table = table_with({"a"});
  std::int64_t now = 500;
  int tries = 0;
  std::string lost;
  for (; lost.empty() && now < 5000; now = std::max(now + 1, table.next_deadline().value_or(TimeMs{now + 1}).value)) {
    if (table.next_due(TimeMs{now})) {
      ++tries;
      lost = text_of(table.on_failure(kBatch, kUnreachable, TimeMs{now}));
    }
    if (lost.empty()) lost = text_of(table.take_expired(TimeMs{now}));
  }
  CHECK(lost == "a: unreachable");
  CHECK(tries == 5);  // each eighth of the lease, the last one at its end
  CHECK(now == 1001);
  CHECK(table.empty());
}

TEST_CASE("a failure for good loses the lease at once", "[client]") {
  RenewalTable table = table_with({"a", "b"});
  table.next_due(TimeMs{500});
  CHECK(text_of(table.on_failure(kBatch, {"no_such_queue", "deleted", false}, TimeMs{510})) ==
        "a: no_such_queue; b: no_such_queue");
  CHECK(table.empty());
}

TEST_CASE("a renewal without an answer loses the lease when its time is over", "[client]") {
  RenewalTable table = table_with({"a"});
  table.next_due(TimeMs{500});
  CHECK(table.next_deadline() == TimeMs{1000});
  CHECK(text_of(table.take_expired(TimeMs{999})).empty());
  CHECK(text_of(table.take_expired(TimeMs{1000})) == "a: timeout");
  CHECK(text_of(table.on_answer(kBatch, {})).empty());  // an answer that comes later is passed over
}

TEST_CASE("of a client that comes too late the broker says whether the lease is over", "[client]") {
  RenewalTable table = table_with({"a"});
  REQUIRE(table.next_due(TimeMs{3000}));
  CHECK(text_of(table.take_expired(TimeMs{3000})).empty());
  SECTION("it is not") {
    CHECK(text_of(table.on_answer(kBatch, {})).empty());
    CHECK(table.next_deadline() == TimeMs{3500});
  }
  SECTION("it is") { CHECK(text_of(table.on_answer(kBatch, {"a"})) == "a: stale_receipt"); }
  SECTION("the broker does not say it") {
    CHECK(text_of(table.on_failure(kBatch, kUnreachable, TimeMs{3100})).empty());
    REQUIRE(table.next_due(TimeMs{3225}));
    CHECK(text_of(table.take_expired(TimeMs{3250})) == "a: timeout");
  }
}

TEST_CASE("batches have times of their own", "[client]") {
  RenewalTable table = table_with({"a"});
  table.add(8, batch({"c"}, 200), TimeMs{50});
  table.add(9, batch({}), TimeMs{0});  // nothing to keep
  CHECK(table.next_deadline() == TimeMs{150});
  CHECK(table.next_due(TimeMs{500})->batch == 7);
  CHECK(table.next_due(TimeMs{500})->batch == 8);
  CHECK_FALSE(table.next_due(TimeMs{500}));
  table.clear();
  CHECK(table.empty());
}
