// Ordering keys: of each one message is out at a time, in order, whoever leads.
#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

struct Keyed : ServiceScript {
  // "a1" has the key "a", "-1" none.
  std::string send(const std::vector<std::string>& bodies, const MessageOptions& options = {}) {
    SendWriter writer;
    for (const std::string& body : bodies) {
      Attributes attributes;
      if (body[0] != '-') attributes.key = std::string_view(body).substr(0, 1);
      writer.add(body, pack_message_pairs(attributes, options));
    }
    RequestHeader header;
    header.op = Op::kSend;
    return request(header, writer.finish());
  }
  // What a receive brings, once it may leave.
  std::string get(std::uint64_t max = 10, std::int64_t lease_ms = 1000) {
    const std::string at_once = receive(max, 0, lease_ms);
    return at_once.empty() ? wait(0) : at_once;
  }
  std::string give_back(const std::string& receipt) {
    RequestHeader header;
    header.op = Op::kNack;
    header.kind = NackKind::kGiveBack;
    return request(header, encode_receipts(std::vector<std::string>{receipt}));
  }
  PartitionInfo as_leader(Epoch epoch) {
    return {.id = {0},
            .epoch = epoch,
            .version = {epoch.value},
            .leader = "w",
            .leader_session = {7},
            .replicas = {"w"},
            .in_sync = {"w"}};
  }
};

}  // namespace

TEST_CASE("of a key one message is out at a time, in order", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2", "b1", "-1", "a3", "-2"});
  CHECK(s.counts().ready == 6);
  CHECK(s.get() == "ok: a1 b1");
  const auto first = s.receipts;
  CHECK(s.get() == "ok: -1 -2");  // they do not wait for a commit
  CHECK(s.counts().ready == 2);
  CHECK(s.get() == "nothing");
  CHECK(s.ack(first[1]) == "ok: ok");
  CHECK(s.get() == "nothing");
  CHECK(s.ack(first[0]) == "ok: ok");
  CHECK(s.get() == "ok: a2");
  CHECK(s.ack(s.receipts[0]) == "ok: ok");
  CHECK(s.get() == "ok: a3");
}

TEST_CASE("keys take turns, and a busy one delays no other", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2", "a3", "b1", "b2", "c1"});
  std::string order;
  for (int i = 0; i < 6; ++i) {
    order += s.get(1) + " ";
    s.ack(s.receipts[0]);
  }
  CHECK(order == "ok: a1 ok: b1 ok: c1 ok: a2 ok: b2 ok: a3 ");
}

TEST_CASE("a message of a key leaves when its lease is committed", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  s.gathering = true;
  CHECK(s.receive(10).empty());
  CHECK(s.wait(0).empty());
  SECTION("and not when that fails") {
    s.fail_commit();
    CHECK(s.taken() == "insufficient_storage");
    s.gathering = false;
    CHECK(s.get() == "ok: a1");
    CHECK(s.deliveries == 1);
  }
  SECTION("then its time begins") {
    s.now.steady = s.now.steady + DurationMs{900};
    s.commit();
    s.gathering = false;
    CHECK(s.taken() == "ok: a1");
    s.wait(999);
    CHECK(s.counts().leased == 1);
    s.wait(1);
    CHECK(s.counts().leased == 0);
    CHECK(s.get() == "ok: a1");
    CHECK(s.deliveries == 2);
  }
}

TEST_CASE("a message of a key that cannot be acked on delivery comes again", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  RequestHeader header;
  header.op = Op::kReceive;
  header.max = 5;
  header.ack_on_delivery = true;
  s.gathering = true;
  CHECK(s.request(header, {}).empty());
  s.fail_commit();
  CHECK(s.taken() == "insufficient_storage");
  s.gathering = false;
  CHECK(s.request(header, {}) == "ok: a1");
  CHECK(s.request(header, {}) == "ok: a2");
  CHECK(s.counts().bytes == 0);
}

TEST_CASE("a message of a key that comes back goes before those behind it that only wait", "[storage][keys]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 1, .key = {5}}, {});
  REQUIRE(queue.withdraw({2}));  // to go elsewhere, which cannot be written
  REQUIRE(queue.remove({1}, 1));
  CHECK(queue.first_ready() == Lsn{3});
  queue.restore({2});
  queue.check_invariants();
  CHECK(queue.first_ready() == Lsn{2});
  CHECK(queue.counts().ready == 2);
}

TEST_CASE("what holds up a message of a key holds up those behind it", "[storage][keys]") {
  Keyed s;
  SECTION("a nack with a delay") {
    s.send({"a1", "a2"});
    s.get();
    CHECK(s.settle(Op::kNack, {s.receipts[0]}, 500) == "ok: ok");
    CHECK(s.get() == "nothing");
    s.wait(500);
    CHECK(s.get() == "ok: a1");
  }
  SECTION("a message that is given back") {
    s.send({"a1", "a2"});
    s.get();
    s.give_back(s.receipts[0]);
    CHECK(s.get() == "ok: a1");
    CHECK(s.deliveries == 1);
  }
  SECTION("a delay from the start, whatever the priorities") {
    s.send({"a1"}, {.delay_ms = DurationMs{500}});
    s.send({"a2"}, {.priority = 9});
    CHECK(s.get() == "nothing");
    s.wait(500);
    CHECK(s.get() == "ok: a1");
  }
  SECTION("until it expires") {
    s.send({"a1"}, {.delay_ms = DurationMs{500}, .ttl_ms = DurationMs{100}});
    s.send({"a2"});
    s.wait(100);
    s.wait(0);
    CHECK(s.get() == "ok: a2");
  }
  SECTION("until it is dead") {
    QueueSettings settings;
    settings.retry.max_deliveries = 1;
    s.set(settings);
    s.send({"a1", "a2"});
    s.get();
    s.settle(Op::kNack, {s.receipts[0]});
    CHECK(s.get() == "ok: a2");
  }
}

TEST_CASE("a delayed message waits for those of its key, and then for its time", "[storage][keys]") {
  Keyed s;
  s.send({"a1"});
  s.send({"a2"}, {.delay_ms = DurationMs{500}});
  s.get();
  s.ack(s.receipts[0]);
  CHECK(s.counts().delayed == 1);
  CHECK(s.get() == "nothing");
  s.wait(500);
  CHECK(s.get() == "ok: a2");
}

TEST_CASE("a lease of a key goes on after a restart, and its receipt is good", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2", "-1"});
  s.get(10, 5000);
  const std::string receipt = s.receipts[0];
  s.wait(4000);
  Keyed next;
  restart(s, next);
  next.change(next.as_leader({2}));
  CHECK(next.get() == "ok: -1");
  next.ack(next.receipts[0]);
  SECTION("for its full time") {
    next.wait(4999);
    CHECK(next.get() == "nothing");
    next.wait(1);
    CHECK(next.get() == "ok: a1");
    CHECK(next.deliveries == 2);
    CHECK(next.ack(receipt) == "ok: stale_receipt");
  }
  SECTION("until it is acked") {
    CHECK(next.ack(receipt) == "ok: ok");
    CHECK(next.records.returns.empty());
    CHECK(next.get() == "ok: a2");
  }
}

TEST_CASE("an extended lease of a key is told when it is committed, and lasts", "[storage][keys]") {
  Keyed s;
  s.send({"a1"});
  s.get(10, 1000);
  const std::string receipt = s.receipts[0];
  RequestHeader header;
  header.op = Op::kExtend;
  header.lease_ms = DurationMs{5000};
  s.gathering = true;
  CHECK(s.request(header, encode_receipts(std::vector<std::string>{receipt})).empty());
  s.commit();
  s.gathering = false;
  CHECK(s.taken() == "ok: ok");
  s.wait(4999);
  CHECK(s.counts().leased == 1);
  Keyed next;
  restart(s, next);
  next.change(next.as_leader({2}));
  next.wait(4999);
  CHECK(next.get() == "nothing");
  CHECK(next.ack(receipt) == "ok: ok");
}

TEST_CASE("a message of a key whose reply reached nobody comes back, uncounted", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  s.get();
  Envelope envelope;
  envelope.queue = {1};
  s.service.undeliverable("router", envelope, s.last_payload, s.now, s.outbox);
  s.wait(0);
  CHECK(s.records.returns.empty());
  CHECK(s.get() == "ok: a1");
  CHECK(s.deliveries == 1);
}

TEST_CASE("a leader that has not seen all yet ends no lease of a message whose reply reached nobody",
          "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  s.get();
  PartitionInfo info = s.as_leader({1});
  info.version = {2};
  info.replicas = info.in_sync = {"w", "x"};
  info.min_in_sync = 2;
  s.change(info);
  CHECK(s.send({"-1"}).empty());
  info = s.as_leader({2});  // what it found is not committed: it may tell of the lease's end
  info.version = {3};
  info.replicas = info.in_sync = {"w", "x"};
  info.min_in_sync = 2;
  s.change(info);
  const std::size_t before = s.records.bytes.size();
  Envelope envelope;
  envelope.queue = {1};
  s.service.undeliverable("router", envelope, s.last_payload, s.now, s.outbox);
  s.wait(0);
  CHECK(s.records.bytes.size() == before);
}

TEST_CASE("a receive that waits gets the next message of a key when the last is acked", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  s.get();
  const std::string receipt = s.receipts[0];
  CHECK(s.receive(1, 5000).empty());
  CHECK(s.ack(receipt) == "ok: ok");
  CHECK(s.wait(0) == "ok: a2");
}

TEST_CASE("with too few replicas no message of a key is handed out, others are", "[storage][keys]") {
  Keyed s;
  s.send({"-1", "a1"});
  PartitionInfo info = s.as_leader({1});
  info.version = {2};
  info.replicas = {"w", "x"};
  info.min_in_sync = 2;
  s.change(info);
  CHECK(s.get() == "ok: -1");
  CHECK(s.get() == "nothing");
}

TEST_CASE("a leader that may be deposed meanwhile keeps a message of a key back", "[storage][keys]") {
  Keyed s;
  PartitionInfo info = s.as_leader({1});
  info.version = {2};
  info.replicas = {"w", "x"};
  s.change(info);
  s.send({"a1"});
  s.gathering = true;
  s.service.hold_lease(s.now.steady + DurationMs{1000}, s.now, s.outbox);
  CHECK(s.receive(1).empty());
  s.now.steady = s.now.steady + DurationMs{1000};
  s.commit();
  CHECK(s.taken() == "unavailable");
}

TEST_CASE("messages of a key that were to make room and stay are in their order", "[storage][keys]") {
  Queue queue;
  for (const std::uint64_t lsn : {1, 2, 3}) queue.append({lsn}, {.bytes = 1, .key = {5}}, {});
  REQUIRE(queue.withdraw({2}));
  REQUIRE(queue.remove({1}, 1));
  REQUIRE(queue.first_ready() == Lsn{3});
  SECTION("both were to go") { REQUIRE(queue.withdraw({3})); }
  SECTION("the other one was on its way to a consumer") {
    const Lease lease = queue.lease_first({1}, {1000}, 1, {});
    REQUIRE(queue.undo_lease({3}, lease.id));
  }
  SECTION("by another leader's word") {
    REQUIRE(queue.withdraw({3}));
    queue.end_leases();
  }
  queue.restore({2});
  queue.restore({3});
  queue.check_invariants();
  CHECK(queue.first_ready() == Lsn{2});
  CHECK(queue.remove({2}, 1));
  CHECK(queue.first_ready() == Lsn{3});
}

TEST_CASE("a lease that the log tells of a message that is dead by then changes nothing", "[storage][keys]") {
  Queue queue;  // of a follower whose snapshot is ahead of its log
  ReturnState dead;
  dead.move = {MoveCause::kRejected, {}, 7};
  queue.append({1}, {.bytes = 1, .returned = &dead, .key = {5}}, {});
  CHECK_FALSE(queue.apply_lease({1}, {{{1}, {1}}, DurationMs{1}, {}}, 1, std::nullopt));
  queue.check_invariants();
  CHECK(queue.counts().dead == 1);
}

TEST_CASE("who looks at a queue sees the messages that wait for others of their key", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2", "-1", "a3"});
  s.get(1);
  RequestHeader header;
  header.op = Op::kBrowse;
  header.max = 10;
  const std::string payload = [&] {
    s.request(header, {});
    return s.last_payload;
  }();
  for (const char* body : {"a2", "-1", "a3"}) CHECK(payload.find(body) != std::string::npos);
  CHECK(payload.find("a1") == std::string::npos);
}

TEST_CASE("a damaged message that will be repaired holds its key", "[storage][keys]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 2; ++lsn) queue.append({lsn}, {.bytes = 1, .key = {5}}, {});
  queue.set_aside({1}, true);
  CHECK_FALSE(queue.has_ready());
  queue.check_invariants();
  CHECK_FALSE(queue.remove({1}, 1));  // another copy was delivered
  CHECK(queue.first_ready() == Lsn{2});
}

TEST_CASE("of a damaged message of a key nobody has another copy: the next one goes out", "[storage][keys]") {
  Keyed s;
  s.send({"a1", "a2"});
  s.records.bytes.begin()->second.back() ^= 1;
  CHECK(s.get() == "ok: a2");
}

}  // namespace dmq
