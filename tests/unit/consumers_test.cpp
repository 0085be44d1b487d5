// Consumers that name themselves: heartbeats, and how much each may hold.
#include "storage/consumers.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

struct Named : ServiceScript {
  std::string get(std::string_view consumer, std::int64_t heartbeat_ms = 0, std::uint64_t max = 1,
                  std::int64_t wait_ms = 0) {
    RequestHeader header;
    header.op = Op::kReceive;
    header.max = max;
    header.wait_ms = DurationMs{wait_ms};
    header.lease_ms = DurationMs{10'000};
    header.consumer = consumer;
    if (heartbeat_ms != 0) header.heartbeat_ms = DurationMs{heartbeat_ms};
    return request(header, {});
  }
  std::string beat(std::string_view consumer, Op op = Op::kHeartbeat) {
    RequestHeader header;
    header.op = op;
    header.consumer = consumer;
    return request(header, op == Op::kHeartbeat ? "" : encode_receipts(std::vector<std::string>{"none"}));
  }
  void limit(std::uint64_t most) {
    QueueSettings settings;
    settings.limits.leased_by_one = most;
    set(settings);
  }
};

}  // namespace

TEST_CASE("the messages of a consumer that goes silent are ready before their leases end", "[storage][consumers]") {
  Named s;
  s.send({"a", "b"});
  CHECK(s.get("x", 500) == "ok: a");
  s.wait(499);
  CHECK(s.get("y") == "ok: b");
  CHECK(s.get("y") == "nothing");
  SECTION("it is silent") {
    s.wait(1);
    CHECK(s.get("z") == "ok: a");
    CHECK(s.deliveries == 2);
    CHECK(s.get("z") == "nothing");  // those who said nothing of it are not waited for
  }
  SECTION("any request that names it is a sign") {
    for (const Op op : {Op::kHeartbeat, Op::kAck, Op::kNack, Op::kExtend, Op::kHeartbeat}) {
      s.beat("x", op);
      s.wait(499);
      CHECK(s.get("z") == "nothing");
    }
    s.wait(1);
    CHECK(s.get("z") == "ok: a");
  }
  SECTION("a sign in another queue is none in this") {
    RequestHeader header;
    header.op = Op::kHeartbeat;
    header.consumer = "x";
    CHECK(s.request(header, {}, {2}) == "ok");
    s.wait(1);
    CHECK(s.get("z") == "ok: a");
  }
}

TEST_CASE("a consumer is not silent while its receive waits, and then as long as it said", "[storage][consumers]") {
  Named s;
  CHECK(s.get("x", 500, 1, 3000).empty());
  s.wait(2000);
  CHECK(s.send({"a"}) == "ok: 0-1; ok: a");
  s.wait(499);
  CHECK(s.get("z") == "nothing");
  s.wait(1);
  CHECK(s.get("z") == "ok: a");
}

TEST_CASE("who is silent loses leases of messages with an ordering key too, by the log", "[storage][consumers]") {
  Named s;
  s.send_with_key("a");
  CHECK(s.get("x", 500) == "ok: a");
  s.wait(500);
  CHECK(s.get("y") == "ok: a");
  CHECK(s.deliveries == 2);
}

TEST_CASE("a consumer is not silent while its messages are on their way to it", "[storage][consumers]") {
  Named s;
  s.send_with_key("a");
  s.gathering = true;
  CHECK(s.get("x", 500).empty());
  s.wait(400);
  s.gathering = false;
  s.commit();
  CHECK(s.taken() == "ok: a");
  s.wait(499);
  CHECK(s.get("y") == "nothing");
  s.wait(1);
  CHECK(s.get("y") == "ok: a");
}

TEST_CASE("a lease that is not committed yet does not end for a silence", "[storage][consumers]") {
  Named s;
  s.send_with_key("a");
  s.gathering = true;
  CHECK(s.get("x", 500).empty());
  s.wait(1000);
  s.service.partition({0}).find_queue({1})->check_invariants();
  s.commit();
  s.gathering = false;
  CHECK(s.taken() == "ok: a");
  CHECK(s.ack(s.receipts[0]) == "ok: ok");
}

TEST_CASE("each consumer holds so many messages, and holds up nobody else", "[storage][consumers]") {
  Named s;
  s.limit(2);
  s.send({"a", "b", "c", "d", "e"});
  CHECK(s.get("x", 0, 10) == "ok: a b");
  const auto receipts = s.receipts;
  CHECK(s.get("x", 0, 10, 5000).empty());
  CHECK(s.get("y", 0, 10) == "ok: c d");
  CHECK(s.receive(10) == "ok: e");  // who has no name has no limit
  CHECK(s.send({"f"}) == "ok: 0-6");
  SECTION("until it settles one") { CHECK(s.ack(receipts[0]) == "ok: ok; ok: f"); }
  SECTION("those who wait behind it are served") {
    CHECK(s.receive(10) == "ok: f");
    CHECK(s.receive(1, 5000).empty());
    CHECK(s.send({"g"}) == "ok: 0-7; ok: g");
  }
}

TEST_CASE("consumers are bounded, and forgotten", "[storage][consumers]") {
  Consumers consumers;
  const QueuePlace queue{{0}, {1}};
  const auto name = [](std::size_t i) { return std::to_string(i); };
  for (std::size_t i = 0; i < kConsumersMax; ++i) REQUIRE(consumers.heard(queue, name(i), std::nullopt, {1000}));
  CHECK(consumers.heard(queue, "more", std::nullopt, {1000}).error().code == Errc::kUnavailable);
  CHECK(consumers.heard(queue, name(7), DurationMs{500}, {1000}));
  consumers.took(queue, name(8), {{{1}, {}}}, {1000}, DurationMs{9000}, [](const GivenLease&) { return true; });
  CHECK(consumers.gone({1000}).empty());
  CHECK(consumers.size() == 2);
  CHECK(consumers.next_deadline() == TimeMs{1500});
  CHECK(consumers.gone({1499}).empty());
  CHECK(consumers.gone({1500}).size() == 1);
  CHECK(consumers.holds(queue, name(8), [](const GivenLease&) { return true; }) == 1);
  CHECK(consumers.gone({10'000}).empty());
  CHECK(consumers.size() == 0);
}

TEST_CASE("what was settled is swept from what a consumer holds", "[storage][consumers]") {
  Consumers consumers;
  const QueuePlace queue{{0}, {1}};
  REQUIRE(consumers.heard(queue, "x", DurationMs{1000}, {0}));
  for (std::uint64_t i = 0; i < 1000; ++i) {
    const auto lasts = [i](const GivenLease& lease) { return lease.lsn.value + 10 > i; };
    consumers.took(queue, "x", {{{i}, {}}}, {0}, DurationMs{1000}, lasts);
  }
  CHECK(consumers.gone({1000}).front().held.size() < 100);
}

TEST_CASE("a heartbeat names its consumer", "[protocol][header]") {
  MsgpackReader reader;
  RequestHeader header;
  RequestHeader out;
  header.op = Op::kHeartbeat;
  header.queue = "q";
  CHECK(decode_request_header(encode_request_header(header), reader, out).error().code == Errc::kInvalidArgument);
  header.consumer = "x";
  header.heartbeat_ms = DurationMs{99};
  CHECK(decode_request_header(encode_request_header(header), reader, out).error().code == Errc::kInvalidArgument);
  header.heartbeat_ms = DurationMs{100};
  const std::string bytes = encode_request_header(header);
  REQUIRE(decode_request_header(bytes, reader, out));
  CHECK(out.consumer == "x");
  CHECK(out.heartbeat_ms == DurationMs{100});
  header.op = Op::kReceive;
  header.consumer = {};
  CHECK_FALSE(decode_request_header(encode_request_header(header), reader, out));
}

}  // namespace dmq
