// Priorities, delays and expiry of messages, through the request core and its log.
#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

QueueInfo queue_with(QueueSettings settings) { return {{1}, "q", {0}, {0}, settings}; }

}  // namespace

TEST_CASE("messages with higher priorities are received first", "[storage][service]") {
  ServiceScript s;
  s.send_one("low", {});
  s.send_one("high", {.priority = 9});
  s.send_one("middle", {.priority = 4});
  CHECK(s.receive(3) == "ok: high middle low");
}

TEST_CASE("weights of a queue give each priority its share", "[storage][service]") {
  ServiceScript s;
  QueueSettings settings;
  settings.priority_weights.fill(1);
  s.change(queue_with(settings));
  for (int i = 0; i < 3; ++i) s.send_one("low", {});
  for (int i = 0; i < 3; ++i) s.send_one("high", {.priority = 9});
  CHECK(s.receive(4) == "ok: high low high low");
}

TEST_CASE("a delayed message reaches a receive that waits, at its time", "[storage][service]") {
  ServiceScript s;
  s.send_one("later", {.delay_ms = DurationMs{100}});
  CHECK(s.counts().delayed == 1);
  CHECK(s.receive(1, 1000).empty());
  CHECK(s.wait(99).empty());
  CHECK(s.service.next_deadline() <= s.now.steady + DurationMs{1});
  CHECK(s.wait(1) == "ok: later");
  CHECK(s.deliveries == 1);
}

TEST_CASE("a message is delivered at a time of the wall clock, at once when that is past", "[storage][service]") {
  ServiceScript s;
  s.send_one("future", {.deliver_at = s.now.wall + DurationMs{50}});
  s.send_one("past", {.deliver_at = TimeMs{1}});
  CHECK(s.receive(2) == "ok: past");
  s.wait(50);
  CHECK(s.receive(2) == "ok: future");
}

TEST_CASE("a message may last although those of its queue expire by default", "[storage][service]") {
  ServiceScript s;
  QueueSettings settings;
  settings.ttl_ms = DurationMs{200};
  s.change(queue_with(settings));
  s.send_one("queue's", {});
  s.send_one("lasting", {.ttl_ms = DurationMs{0}});
  s.wait(300);
  CHECK(s.receive(2) == "ok: lasting");
}

TEST_CASE("a queue's delay and time to live are for messages that do not say", "[storage][service]") {
  ServiceScript s;
  QueueSettings settings;
  settings.delay_ms = DurationMs{100};
  settings.ttl_ms = DurationMs{200};
  s.change(queue_with(settings));
  s.send_one("queue's", {});
  s.send_one("own", {.delay_ms = DurationMs{0}, .ttl_ms = DurationMs{500}});
  CHECK(s.receive(2) == "ok: own");
  s.settle(Op::kNack, s.receipts);
  s.wait(100);
  CHECK(s.receive(2) == "ok: queue's own");
  s.settle(Op::kNack, s.receipts);
  s.wait(100);
  CHECK(s.receive(2) == "ok: own");
  s.settle(Op::kNack, s.receipts);
  s.wait(300);
  CHECK(s.receive(2) == "nothing");
}

TEST_CASE("an expired message is never delivered, and goes from the store", "[storage][service]") {
  ServiceScript s;
  s.send_one("short", {.ttl_ms = DurationMs{50}});
  s.send_one("long", {});
  SECTION("by time") {
    s.wait(50);
    CHECK(s.counts().ready == 1);
    CHECK(s.records.bytes.size() == 1);
    CHECK(s.counts().bytes == s.records.bytes.begin()->second.size());
  }
  SECTION("when it is asked for before time is looked at") {
    s.now.steady = s.now.steady + DurationMs{50};
    CHECK(s.receive(2) == "ok: long");
    CHECK(s.service.next_deadline() <= s.now.steady);
    s.wait(0);
    CHECK(s.records.bytes.size() == 1);
  }
  SECTION("while it waits for its delay") {
    s.send_one("never", {.delay_ms = DurationMs{100}, .ttl_ms = DurationMs{100}});
    s.wait(100);
    CHECK(s.receive(2) == "ok: long");
  }
  SECTION("after its lease") {
    CHECK(s.receive(1, 0, 100) == "ok: short");
    s.wait(60);
    CHECK(s.counts().leased == 1);  // who has it may still ack it
    s.wait(40);                     // the lease ends
    s.wait(0);
    CHECK(s.receive(2) == "ok: long");
  }
}

TEST_CASE("an expired message whose removal could not be written is removed later", "[storage][service]") {
  ServiceScript s;
  s.send_one("short", {.ttl_ms = DurationMs{50}});
  s.gathering = true;
  s.wait(50);
  s.fail_commit();
  s.gathering = false;
  CHECK(s.receive() == "nothing");
  CHECK(s.records.bytes.size() == 1);
  s.wait(1);
  CHECK(s.records.bytes.empty());
  CHECK(s.counts().bytes == 0);
}

TEST_CASE("an expired message whose record is damaged is in no state until it is repaired", "[storage][service]") {
  ServiceScript s;
  s.send_one("short", {.ttl_ms = DurationMs{50}});
  s.records.bytes.begin()->second.back() ^= 1;
  s.wait(50);
  CHECK(s.counts().leased == 0);
  CHECK(s.counts().bytes > 0);
  CHECK(s.records.bytes.size() == 1);  // nothing is deleted for damage
}

TEST_CASE("a lease whose end could not be written ends later", "[storage][service]") {
  ServiceScript s;
  s.send_one("once", {});
  CHECK(s.receive(1, 0, 100) == "ok: once");
  CHECK(s.receive(1, 60'000).empty());
  s.gathering = true;
  s.wait(100);
  s.fail_commit();
  s.gathering = false;
  CHECK(s.service.next_deadline() <= s.now.steady);
  CHECK(s.wait(0) == "ok: once");
  CHECK(s.deliveries == 2);
}

TEST_CASE("who leads no more holds no leases (rule 10)", "[storage][service]") {
  ServiceScript s;
  PartitionInfo info{.id = {0}, .epoch = {2}, .version = {2}, .leader = "w", .leader_session = {7}};
  info.replicas = {"w", "x"};
  info.in_sync = {"w"};
  s.change(info);
  s.send_one("leased", {});
  REQUIRE(s.receive() == "ok: leased");
  REQUIRE(s.counts().leased == 1);
  info.epoch = {3};
  info.version = {3};
  info.leader = "x";
  info.leader_session = {8};
  s.change(info);
  CHECK(s.counts().leased == 0);
  CHECK(s.counts().ready == 1);
}

TEST_CASE("priority, delay and expiry survive a restart", "[storage][service]") {
  ServiceScript s;
  s.send_one("low", {});
  s.send_one("high", {.priority = 9});
  s.send_one("later", {.priority = 5, .delay_ms = DurationMs{100}});
  s.send_one("short", {.priority = 9, .ttl_ms = DurationMs{50}});
  s.wait(40);
  ServiceScript again;
  restart(s, again);
  again.wait(10);
  CHECK(again.receive(5) == "ok: high low");
  CHECK(again.wait(49).empty());
  CHECK(again.receive(5) == "nothing");
  again.wait(1);
  CHECK(again.receive(5) == "ok: later");
}

}  // namespace dmq
