// Limits of a queue: what is refused, what makes room, and how much is leased at once.
#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

struct Limited : ServiceScript {
  explicit Limited(const QueueLimits& limits, const std::string& dead_letter = "") {
    QueueSettings settings;
    settings.limits = limits;
    settings.dead_letter = dead_letter;
    set(settings);
  }
};

}  // namespace

TEST_CASE("a full queue refuses a request whole", "[storage][limits]") {
  Limited s({.messages = 3});
  CHECK(s.send({"a", "b"}) == "ok: 0-1 0-2");
  CHECK(s.send({"c", "d"}) == "queue_full");
  CHECK(s.send({"c"}) == "ok: 0-3");
  CHECK(s.send({"d"}) == "queue_full");
  SECTION("leased and delayed messages count") {
    s.receive(3);
    s.settle(Op::kNack, {s.receipts[0]}, 1000);
    CHECK(s.send({"d"}) == "queue_full");
  }
  SECTION("until one is acked") {
    s.receive();
    CHECK(s.ack(s.receipts[0]) == "ok: ok");
    CHECK(s.send({"d"}).starts_with("ok: 0-"));
  }
  SECTION("what is acked makes room at once, before that is written") {
    s.receive();
    s.gathering = true;
    s.ack(s.receipts[0]);
    CHECK(s.send({"d"}).empty());
    CHECK(s.send({"e"}) == "queue_full");
    s.commit();
    s.gathering = false;
    CHECK(s.counts().ready == 3);
  }
  SECTION("what is on its way to the disk counts") {
    s.receive(3);
    for (const std::string& receipt : std::vector(s.receipts)) s.ack(receipt);
    s.gathering = true;
    CHECK(s.send({"1", "2", "3"}).empty());
    CHECK(s.send({"4"}) == "queue_full");
    s.gathering = false;
    s.commit();
    CHECK(s.counts().ready == 3);
  }
}

TEST_CASE("an ack of a message that was purged meanwhile makes no room", "[storage][limits]") {
  Limited s({.messages = 2});
  s.send({"a"});
  s.receive();
  RequestHeader purge;
  purge.op = Op::kQueuePurge;
  s.gathering = true;
  s.request(purge, {});
  Turn purged = std::exchange(s.turn, {});
  CHECK(s.ack(s.receipts[0]).empty());
  s.service.seal(purged, s.now, s.outbox);
  s.records.apply(purged.writes);
  s.service.committed(purged, s.now, s.turn, s.outbox);
  s.taken();
  CHECK(s.send({"b", "c"}).empty());
  CHECK(s.send({"d"}) == "queue_full");
}

TEST_CASE("a request that was taken before is a duplicate, also when the queue is full", "[storage][limits]") {
  Limited s({.messages = 2});
  CHECK(s.send({"a", "b"}, "p", 1) == "ok: 0-1 0-2");
  CHECK(s.send({"a", "b"}, "p", 1) == "ok: duplicate duplicate");
  CHECK(s.send({"c"}, "p", 3) == "queue_full");
  CHECK(s.send({"c"}, "p", 4) == "queue_full");
}

TEST_CASE("of a request that was taken in part only the new messages need room", "[storage][limits]") {
  Limited s({.messages = 2});
  s.send({"a"}, "p", 1);
  CHECK(s.send({"a", "b"}, "p", 1) == "ok: duplicate 0-2");
}

TEST_CASE("a full dead-letter queue takes what it has room for", "[storage][limits]") {
  Limited s({.messages = 4, .when_full = WhenFull::kDeadLetter}, "r");
  QueueSettings small;
  small.limits.messages = 2;
  s.set(small, {2});
  s.send({"a", "b", "c", "d"});
  s.send({"e", "f", "g"});
  for (int i = 0; i < 6; ++i) s.wait(0);
  CHECK(s.counts({2}).ready == 2);
  CHECK(s.counts({1}).dead == 1);
  s.set({}, {2});
  s.wait(1000);
  for (int i = 0; i < 6; ++i) s.wait(0);
  CHECK(s.counts({2}).ready == 3);
  CHECK(s.counts({1}).dead == 0);
}

TEST_CASE("a queue's bytes are those of its records", "[storage][limits]") {
  Limited s({.bytes = 2 * (kRecordHeaderBytes + 10)});
  CHECK(s.send({std::string(10, 'a'), std::string(11, 'b')}) == "queue_full");
  CHECK(s.send({std::string(10, 'a'), std::string(10, 'b')}) == "ok: 0-1 0-2");
  CHECK(s.counts().bytes == 2 * (kRecordHeaderBytes + 10));
  CHECK(s.send({""}) == "queue_full");
}

TEST_CASE("a queue may take small bodies only", "[storage][limits]") {
  Limited s({.message_bytes = 3});
  CHECK(s.send({"abc", "abcd", ""}) == "ok: 0-1 too_large 0-2");
  CHECK(s.send({"abcd"}, "p", 1) == "too_large");
}

TEST_CASE("a full queue lets its oldest go", "[storage][limits]") {
  Limited s({.messages = 3, .when_full = WhenFull::kDropOldest});
  s.send({"a", "b", "c"});
  CHECK(s.send({"d", "e"}).starts_with("ok: 0-"));
  CHECK(s.counts().ready == 3);
  CHECK(s.records.bytes.size() == 3);
  SECTION("in their order") { CHECK(s.receive(5) == "ok: c d e"); }
  SECTION("but none that is leased") {
    CHECK(s.receive(2) == "ok: c d");
    CHECK(s.send({"f"}).starts_with("ok: 0-"));
    CHECK(s.send({"g", "h"}) == "queue_full");
    CHECK(s.receive(5) == "ok: f");
  }
  SECTION("and not when that cannot be written") {
    s.gathering = true;
    s.send({"f"});
    s.fail_commit();
    s.gathering = false;
    CHECK(s.taken() == "insufficient_storage");
    CHECK(s.receive(5) == "ok: c d e");
  }
  SECTION("by bytes") {
    Limited bytes({.bytes = 3 * (kRecordHeaderBytes + 10), .when_full = WhenFull::kDropOldest});
    bytes.send({std::string(10, '1'), std::string(10, '2'), std::string(10, '3')});
    CHECK(bytes.send({std::string(84, '4')}).starts_with("ok: 0-"));
    CHECK(bytes.counts().ready == 2);
    CHECK(bytes.send({std::string(200, '5')}) == "queue_full");
  }
}

TEST_CASE("a full queue moves its oldest to the dead-letter queue", "[storage][limits]") {
  Limited s({.messages = 2, .when_full = WhenFull::kDeadLetter}, "r");
  s.send({"a", "b"});
  CHECK(s.send({"c"}).starts_with("ok: 0-"));
  for (int i = 0; i < 6; ++i) s.wait(0);
  CHECK(s.receive(5) == "ok: b c");
  CHECK(s.counts({2}).ready == 1);
  SECTION("without one it refuses") {
    Limited none({.messages = 1, .when_full = WhenFull::kDeadLetter});
    none.send({"a"});
    CHECK(none.send({"b"}) == "queue_full");
  }
  SECTION("and that one may be full itself, then they wait") {
    QueueSettings full;
    full.limits.messages = 1;
    s.set(full, {2});
    s.settle(Op::kNack, {s.receipts[0]});
    CHECK(s.send({"d"}).starts_with("ok: 0-"));
    for (int i = 0; i < 6; ++i) s.wait(0);
    CHECK(s.counts({1}).dead == 1);
    CHECK(s.counts({2}).ready == 1);
  }
}

TEST_CASE("no more are leased than may be", "[storage][limits]") {
  Limited s({.leased = 2});
  s.send({"a", "b", "c", "d"});
  CHECK(s.receive(5) == "ok: a b");
  const auto receipts = s.receipts;
  CHECK(s.receive(5) == "nothing");
  CHECK(s.receive(5, 1000).empty());  // it waits
  SECTION("until one is acked") { CHECK(s.ack(receipts[0]) == "ok: ok; ok: c"); }
  SECTION("until one is given back") { CHECK(s.settle(Op::kNack, {receipts[1]}) == "ok: ok; ok: b"); }
}

TEST_CASE("a message that is acked on delivery leaves when that is durable", "[storage][limits]") {
  ServiceScript s;
  RequestHeader header;
  header.op = Op::kReceive;
  header.max = 5;
  header.ack_on_delivery = true;
  SECTION("at once") {
    s.send({"a", "b"});
    s.gathering = true;
    CHECK(s.request(header, {}).empty());
    CHECK(s.receive(5) == "nothing");
    s.commit();
    s.gathering = false;
    CHECK(s.taken() == "ok: a b");
    CHECK(s.confirmed == Confirmation::kInSync);
    CHECK(s.records.bytes.empty());
    CHECK(s.counts().bytes == 0);
    CHECK(s.ack(s.receipts[0]) == "ok: stale_receipt");
  }
  SECTION("after it waited") {
    header.wait_ms = DurationMs{1000};
    s.request(header, {});
    CHECK(s.send({"a"}) == "ok: 0-1");
    CHECK(s.wait(0) == "ok: a");
    CHECK(s.records.bytes.empty());
  }
  SECTION("before a purge that came later is told") {
    s.send({"a"});
    s.gathering = true;
    s.request(header, {});
    RequestHeader purge;
    purge.op = Op::kQueuePurge;
    s.request(purge, {});
    s.commit();
    CHECK(s.taken().starts_with("ok: a; ok"));
  }
  SECTION("and not behind a purge that came before") {
    s.send({"a"});
    s.gathering = true;
    RequestHeader purge;
    purge.op = Op::kQueuePurge;
    s.request(purge, {});
    CHECK(s.request(header, {}) == "nothing");
  }
  SECTION("not when that cannot be written; then it comes again") {
    s.send({"a"});
    s.gathering = true;
    s.request(header, {});
    s.fail_commit();
    s.gathering = false;
    CHECK(s.taken() == "insufficient_storage");
    s.wait(30'000);
    CHECK(s.receive() == "ok: a");
  }
}

}  // namespace dmq
