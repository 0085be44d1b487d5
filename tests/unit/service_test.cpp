// The request core: what each request answers, and when.
#include "storage/service.hpp"

#include <catch2/catch.hpp>

#include "service_script.hpp"

namespace dmq {
namespace {

// Partition 0 on "w" and another worker, one of which leads and is in sync alone.
PartitionInfo led_by(std::uint32_t epoch, const std::string& leader, std::uint64_t session) {
  return PartitionInfo{.id = {0},
                       .epoch = {epoch},
                       .version = {epoch},
                       .leader = leader,
                       .leader_session = {session},
                       .replicas = {"w", "other"},
                       .in_sync = {leader}};
}

}  // namespace

TEST_CASE("a message goes in, comes out, and is gone after its ack", "[storage][service]") {
  ServiceScript s;
  CHECK(s.send({"a", "b"}) == "ok: 0-1 0-2");
  CHECK(s.receive(10) == "ok: a b");
  const auto receipts = s.receipts;
  CHECK(s.receive(10) == "nothing");
  CHECK(s.settle(Op::kAck, receipts) == "ok: ok ok");
  CHECK(s.records.bytes.empty());
  CHECK(s.service.stored() == 0);
}

TEST_CASE("a send is answered after its commit and not before", "[storage][service]") {
  ServiceScript s;
  s.gathering = true;
  CHECK(s.send({"a"}).empty());
  CHECK(s.receive() == "nothing");  // not delivered before it is committed either
  s.commit();
  CHECK(s.taken() == "ok: 0-1");
  CHECK(s.receive() == "ok: a");
}

TEST_CASE("an ack is answered after its commit and not before", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.receive();
  s.gathering = true;
  CHECK(s.ack(s.receipts[0]).empty());
  s.commit();
  CHECK(s.taken() == "ok: ok");
}

TEST_CASE("a receive waits for a message, in the order of arrival", "[storage][service]") {
  ServiceScript s;
  CHECK(s.receive(1, 5000).empty());
  CHECK(s.receive(1, 5000).empty());
  CHECK(s.send({"a"}) == "ok: 0-1; ok: a");
  CHECK(s.send({"b", "c"}) == "ok: 0-2 0-3; ok: b");
  CHECK(s.receive() == "ok: c");
}

TEST_CASE("messages whose time comes go first to who waits, whoever else asks just then", "[storage][service]") {
  ServiceScript s;
  s.send_one("a", {.delay_ms = DurationMs{100}});
  s.send_one("b", {.delay_ms = DurationMs{100}});
  CHECK(s.receive(1, 5000).empty());
  CHECK(s.receive(1, 5000).empty());
  s.now.steady = s.now.steady + DurationMs{100};
  s.now.wall = s.now.wall + DurationMs{100};
  CHECK(s.receive() == "ok: a; ok: b; nothing");
}

TEST_CASE("a receive that waited long enough is answered with nothing", "[storage][service]") {
  ServiceScript s;
  CHECK(s.receive(1, 500).empty());
  CHECK(s.service.next_deadline() == s.now.steady + DurationMs{500});
  CHECK(s.wait(499).empty());
  CHECK(s.wait(1) == "nothing");
  CHECK(s.send({"a"}) == "ok: 0-1");
}

TEST_CASE("the number of waiting receives is bounded", "[storage][service]") {
  ServiceLimits limits;
  limits.receivers_max = 2;
  ServiceScript s(limits);
  CHECK(s.receive(1, 500).empty());
  CHECK(s.receive(1, 500).empty());
  CHECK(s.receive(1, 500) == "unavailable");
  s.wait(500);
  CHECK(s.receive(1, 500).empty());
}

TEST_CASE("a receive keeps to its number and its bytes, but gives at least one message", "[storage][service]") {
  ServiceScript s;
  s.send({"aaaa", "bbbb", "cccc"});
  RequestHeader header;
  header.op = Op::kReceive;
  header.max = 10;
  header.max_bytes = 8;
  CHECK(s.request(header, {}) == "ok: aaaa bbbb");
  header.max_bytes = 1;
  CHECK(s.request(header, {}) == "ok: cccc");
}

TEST_CASE("a lease that ends gives the message to the next receiver, counted", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  CHECK(s.receive(1, 0, 100) == "ok: a");
  const std::string old = s.receipts[0];
  CHECK(s.wait(99).empty());
  CHECK(s.receive() == "nothing");
  s.wait(1);
  CHECK(s.receive() == "ok: a");
  CHECK(s.deliveries == 2);
  CHECK(s.ack(old) == "ok: stale_receipt");
  CHECK(s.ack(s.receipts[0]) == "ok: ok");
  CHECK(s.ack(s.receipts[0]) == "ok: stale_receipt");
}

TEST_CASE("a waiting receive gets a message whose lease ended", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.receive(1, 0, 100);
  CHECK(s.receive(1, 5000).empty());
  CHECK(s.wait(100) == "ok: a");
}

TEST_CASE("a nack gives back at once or after a delay", "[storage][service]") {
  ServiceScript s;
  s.send({"a", "b"});
  s.receive(2);
  const auto receipts = s.receipts;
  CHECK(s.settle(Op::kNack, {receipts[0]}, 300) == "ok: ok");
  CHECK(s.settle(Op::kNack, {receipts[1]}) == "ok: ok");
  CHECK(s.receive(10) == "ok: b");
  CHECK(s.counts().delayed == 1);
  CHECK(s.service.next_deadline() == s.now.steady + DurationMs{300});
  s.wait(300);
  CHECK(s.receive(10) == "ok: a");
  CHECK(s.deliveries == 2);
}

TEST_CASE("extend moves the end of a lease", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.receive(1, 0, 100);
  const auto receipts = s.receipts;
  RequestHeader header;
  header.op = Op::kExtend;
  header.lease_ms = DurationMs{500};
  CHECK(s.request(header, encode_receipts(receipts)) == "ok: ok");
  s.wait(499);
  CHECK(s.receive() == "nothing");
  s.wait(1);
  CHECK(s.receive() == "ok: a");
  CHECK(s.request(header, encode_receipts(receipts)) == "ok: stale_receipt");
}

TEST_CASE("a reply that reached nobody gives its messages back at once, uncounted", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  RequestHeader header;
  header.op = Op::kReceive;
  header.id = std::uint64_t{1};
  header.queue = "q";
  Envelope envelope;
  envelope.queue = {1};
  s.service.handle({{"router", encode_envelope(envelope)}, envelope, encode_request_header(header), {}}, s.now, s.turn,
                   s.outbox);
  REQUIRE(s.outbox.replies.size() == 1);
  const std::string payload = s.outbox.replies[0].payload;
  s.outbox.replies.clear();
  CHECK(s.receive(1, 5000).empty());
  s.service.undeliverable("router", envelope, payload, s.now, s.outbox);
  CHECK(s.taken() == "ok: a");
  CHECK(s.deliveries == 1);
}

TEST_CASE("a repeated send of a producer is answered as a duplicate and stored once", "[storage][service]") {
  ServiceScript s;
  CHECK(s.send({"a", "b"}, "p", 1) == "ok: 0-1 0-2");
  CHECK(s.send({"a", "b"}, "p", 1) == "ok: duplicate duplicate");
  CHECK(s.send({"b", "c"}, "p", 2) == "ok: duplicate 0-3");
  CHECK(s.send({"x"}, "p", 9) == "out_of_sequence");
  CHECK(s.receive(10) == "ok: a b c");
}

TEST_CASE("a duplicate is confirmed no sooner than its original", "[storage][service]") {
  ServiceScript s;
  s.gathering = true;
  CHECK(s.send({"a"}, "p", 1).empty());
  CHECK(s.send({"a"}, "p", 1).empty());
  s.commit();
  CHECK(s.taken() == "ok: 0-1; ok: duplicate");
}

TEST_CASE("a failed commit confirms nothing, and the retry is new", "[storage][service]") {
  ServiceScript s;
  s.gathering = true;
  s.send({"a"}, "p", 1);
  s.fail_commit();
  CHECK(s.taken() == "insufficient_storage");
  CHECK(s.service.stored() == 0);
  s.gathering = false;
  CHECK(s.send({"a"}, "p", 1) == "insufficient_storage");  // for a second, so that acks get through
  s.wait(1000);
  CHECK(s.send({"a"}, "p", 1) == "ok: 0-1");
  CHECK(s.receive(10) == "ok: a");
}

TEST_CASE("a failed commit leaves the lease, and the ack can be repeated", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.receive();
  s.gathering = true;
  s.ack(s.receipts[0]);
  s.fail_commit();
  CHECK(s.taken() == "insufficient_storage");
  s.gathering = false;
  CHECK(s.ack(s.receipts[0]) == "ok: ok");
}

TEST_CASE("a full store refuses sends and takes acks", "[storage][service]") {
  ServiceLimits limits;
  limits.store_bytes = 3000;
  ServiceScript s(limits);
  const std::string body(1000, 'x');
  CHECK(s.send({body}) == "ok: 0-1");
  CHECK(s.send({body}) == "ok: 0-2");
  CHECK(s.send({body}) == "insufficient_storage");
  s.receive();
  CHECK(s.ack(s.receipts[0]) == "ok: ok");
  CHECK(s.send({body}) == "ok: 0-4");  // the ack took a place in the log too
}

TEST_CASE("one bad message of an anonymous request is refused alone", "[storage][service]") {
  ServiceScript s;
  RequestHeader header;
  header.op = Op::kSend;
  const std::string payload =
      std::string("\x93\xc4\x01") + "a" + "\x05" + "\xc4\x01" + "c";  // a body, a number, a body
  CHECK(s.request(header, payload) == "ok: 0-1 malformed 0-2");
  header.producer = "p";
  header.sequence = {1};
  CHECK(s.request(header, payload) == "malformed");
  CHECK(s.send({"a"}, "p", 1) == "ok: 0-3");  // nothing was consumed
}

TEST_CASE("a damaged record is never delivered, its neighbours are", "[storage][service]") {
  ServiceScript s;
  s.send({"a", "b", "c"});
  s.records.bytes[{{0}, {2}}].back() ^= 1;
  CHECK(s.receive(10) == "ok: a c");
  CHECK(s.records.bytes.count({{0}, {2}}) == 1);  // kept for repair
}

TEST_CASE("a store that cannot be read costs no message", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.records.unreadable = true;
  CHECK(s.receive() == "nothing");
  CHECK(s.counts().ready == 1);
  s.records.unreadable = false;
  CHECK(s.receive() == "ok: a");
}

TEST_CASE("headers travel with the message", "[storage][service]") {
  ServiceScript s;
  SendWriter writer;
  writer.add("a", pack_attributes({.headers = {{"trace", "42"}}}));
  RequestHeader header;
  header.op = Op::kSend;
  CHECK(s.request(header, writer.finish()) == "ok: 0-1");
  header.op = Op::kReceive;
  header.id = std::uint64_t{1};
  header.queue = "q";
  Envelope envelope;
  envelope.queue = {1};
  s.service.handle({{"router", encode_envelope(envelope)}, envelope, encode_request_header(header), {}}, s.now, s.turn,
                   s.outbox);
  MsgpackReader reader;
  std::vector<Delivery> messages;
  REQUIRE(decode_deliveries(s.outbox.replies.at(0).payload, reader, messages));
  CHECK(messages.at(0).attributes.headers == std::vector<HeaderView>{{"trace", "42"}});
}

TEST_CASE("a request for a partition or queue that is not here is handed back", "[storage][service]") {
  ServiceScript s;
  s.change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "other",
                         .leader_session = {7},
                         .replicas = {"other"},
                         .in_sync = {"other"}});
  CHECK(s.send({"a"}) == "hand back");
  s.change(PartitionInfo{.id = {0},
                         .epoch = {3},
                         .version = {3},
                         .leader = "w",
                         .leader_session = {7},
                         .replicas = {"w"},
                         .in_sync = {"w"}});
  CHECK(s.send({"a"}) == "ok: 0-1");
  s.change(QueueDeleted{{1}, "q"});
  CHECK(s.send({"a"}) == "hand back");
}

TEST_CASE("rule 1: a worker leads only in the session that the catalog names", "[storage][service]") {
  ServiceScript s;
  PartitionInfo info{.id = {0}, .epoch = {2}, .version = {2}, .leader = "w", .leader_session = {6}};
  info.replicas = info.in_sync = {"w"};
  s.change(info);
  CHECK(s.send({"a"}) == "hand back");
  info.epoch = {3};
  info.version = {3};
  info.leader_session = {7};
  s.change(info);
  CHECK(s.send({"a"}) == "ok: 0-1");
}

TEST_CASE("a copy that a forced leader lacks is made anew, without a trace of its producers", "[storage][service]") {
  ServiceScript s;
  CHECK(s.send({"a"}, "p", 1) == "ok: 0-1");
  CHECK(s.send({"b"}, "p", 2) == "ok: 0-2");
  s.change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "forced",
                         .leader_session = {8},
                         .replicas = {"forced", "w"},
                         .in_sync = {"forced"}});
  s.wait(1000);
  REQUIRE_FALSE(s.outbox.peers.empty());
  const auto fetch = std::get<FetchRecords>(s.outbox.peers.back().message.body);
  CHECK(fetch.end == Lsn{3});
  s.turn.effects.producers[{{0}, {1}, "p"}] = {{2}, s.now.wall};  // as one that was applied a moment ago
  s.turn.effects.returns[{{0}, {1}}] = {1, {}};
  s.service.handle_peer({0, {0}, {2}, "forced", {7}, TruncateRecords{fetch.nonce, {}, {1}}}, {}, s.now, s.turn,
                        s.outbox);
  CHECK(s.turn.effects.producers.empty());
  CHECK(s.turn.effects.returns.empty());
  s.commit();
  CHECK(s.records.bytes.empty());
  CHECK(s.service.partition({0}).replica().end() == Lsn{1});
  s.wait(1000);
  CHECK(std::get<FetchRecords>(s.outbox.peers.back().message.body).end == Lsn{1});
}

// A follower of "other" in term 2, with an empty log that the leader has checked.
struct FollowerScript : ServiceScript {
  FollowerScript() {
    change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "other",
                         .leader_session = {8},
                         .replicas = {"other", "w"},
                         .in_sync = {"other"}});
    wait(1000);
    start = replica().end();
    hear(FetchedRecords{last_fetch().nonce, start, start, {}, start, {1}, start, {}, {}}, "", {7});
    REQUIRE(start == Lsn{1});
  }
  const Replica& replica() { return service.partition({0}).replica(); }
  FetchRecords last_fetch() {
    for (auto at = outbox.peers.rbegin(); at != outbox.peers.rend(); ++at)
      if (const auto* fetch = std::get_if<FetchRecords>(&at->message.body)) return *fetch;
    FAIL("no fetch was sent");
    return {};
  }
  // The end that the leader was told last; 0: nothing.
  std::uint64_t acked() {
    std::uint64_t end = 0;
    for (const PeerFrame& send : outbox.peers)
      if (const auto* ack = std::get_if<AckRecords>(&send.message.body)) end = ack->end.value;
    return end;
  }
  void hear(PeerBody body, std::string_view bytes, SessionId session) {
    outbox.peers.clear();
    service.handle_peer({0, {0}, {2}, "other", session, std::move(body)}, bytes, now, turn, outbox);
    if (!gathering) commit();
  }
  // As shipped: messages of the term at these offsets from the start.
  std::string shipped(const std::vector<std::uint64_t>& offsets) {
    std::string out;
    for (const std::uint64_t offset : offsets) {
      const RecordPlace place{{0}, {start.value + offset}};
      RecordHeader header;
      header.epoch = {2};
      header.queue = {1};
      header.body_bytes = 1;
      const std::size_t at = ship_record_space(out, place.lsn, record_bytes(header));
      write_record(out.data() + at, place, {header, {}, {}, "b"});
    }
    return out;
  }
  void publish(std::uint32_t claimed, const std::vector<std::uint64_t>& offsets) {
    hear(AppendRecords{start, claimed, {}, start, {1}}, shipped(offsets), {8});
  }
  // Asks as often as it must, and is answered by one part of a snapshot stamped 9.
  void snapshot(Lsn first, Lsn end, const std::vector<std::uint64_t>& offsets, std::uint32_t returned = 0) {
    wait(1000);
    const std::string fresh = shipped(offsets);
    const std::string state = encode_return_state({.deliveries = returned});
    std::string parts;
    for (std::string_view rest = fresh; !rest.empty();) {
      const auto record = take_shipped_record(rest);
      ship_record(parts, {record->lsn, state, record->bytes});
    }
    hear(SnapshotRecords{last_fetch().nonce, first, end, {9}, {{{2}, {1}}}, {}}, parts, {7});
  }
  Lsn start;
};

TEST_CASE("rule 5: what is published has every record that it claims, or the rest is fetched", "[storage][service]") {
  FollowerScript s;
  SECTION("all of them") {
    s.publish(3, {0, 1, 2});
    CHECK(s.replica().end().value == s.start.value + 3);
    CHECK(s.acked() == s.start.value + 3);
  }
  SECTION("no frame of records") {
    s.publish(3, {});
    CHECK(s.replica().end() == s.start);
    CHECK(s.acked() == 0);
  }
  SECTION("the last is missing") {
    s.publish(3, {0, 1});
    CHECK(s.replica().end().value == s.start.value + 2);
    CHECK(s.acked() == s.start.value + 2);
  }
  SECTION("one in between is missing") {
    s.publish(3, {0, 2});
    CHECK(s.replica().end().value == s.start.value + 1);
    CHECK(s.acked() == s.start.value + 1);
  }
  SECTION("more than it claims") {
    s.publish(2, {0, 1, 2});
    CHECK(s.replica().end().value == s.start.value + 2);
    CHECK(s.acked() == s.start.value + 2);
  }
}

TEST_CASE("of a snapshot that could not be written no delivery count stays", "[storage][service]") {
  FollowerScript s;
  s.gathering = true;
  s.snapshot({1}, {9}, {0}, 3);
  REQUIRE(s.turn.effects.returns.at({{0}, {1}}).deliveries == 3);
  Turn done = std::exchange(s.turn, {});
  s.hear(AppendRecords{{9}, 1, {2}, {9}, {1}}, s.shipped({8}), {8});
  s.fail_commit(std::move(done), Errc::kInsufficientStorage);
  for (const auto& [place, returned] : s.turn.effects.returns) CHECK(returned.deliveries == 0);
}

TEST_CASE("a snapshot writes delivery counts where there is one to tell or to replace", "[storage][service]") {
  FollowerScript s;
  const auto rows_of = [&s](std::uint32_t returned) {
    s.gathering = true;
    s.snapshot({1}, {9}, {0}, returned);
    const auto rows = s.turn.effects.returns;
    s.gathering = false;
    s.commit();
    return rows;
  };
  SECTION("a message that comes anew and never came back") { CHECK(rows_of(0).empty()); }
  SECTION("a message that comes anew and came back before") { CHECK(rows_of(3).size() == 1); }
  SECTION("a message that is here, maybe with an old count") {
    rows_of(3);
    const auto rows = rows_of(0);
    REQUIRE(rows.size() == 1);
    CHECK(rows.at({{0}, {1}}).deliveries == 0);
  }
}

TEST_CASE("what is taken away goes also when a snapshot begins in the same turn", "[storage][service]") {
  FollowerScript s;
  s.gathering = true;
  s.turn.effects.returns[{{0}, {30}}] = {};        // of an acked message
  s.turn.effects.returns[{{0}, {31}}] = {2, {0}};  // of one that the snapshot tells of
  s.snapshot({1}, {3}, {0, 1});
  CHECK(s.turn.effects.returns.contains({{0}, {30}}));
  CHECK_FALSE(s.turn.effects.returns.contains({{0}, {31}}));
}

// Its turn was published and could not be written; before another was elected, the others went.
TEST_CASE("a leader that stepped down and is the only replica asks for its next term", "[storage][service]") {
  ServiceScript s;
  PartitionInfo info = led_by(2, "w", 7);
  s.change(info);
  s.gathering = true;
  s.send({"a"});
  s.service.seal(s.turn, s.now, s.outbox);
  s.fail_commit();
  s.gathering = false;
  CHECK(s.send({"a"}) == "hand back");
  info.version = {3};
  info.replicas = {"w"};
  s.change(info);
  s.outbox.resignations.clear();
  s.wait(1000);
  CHECK(s.outbox.resignations.size() == 1);
}

// Else it would give the same places in the same term to other messages.
TEST_CASE("a leader that was left alone steps down when it cannot write what it published", "[storage][service]") {
  ServiceScript s;
  PartitionInfo info = led_by(2, "w", 7);
  s.change(info);
  s.gathering = true;
  s.send({"a"});
  s.service.seal(s.turn, s.now, s.outbox);
  Turn published = std::exchange(s.turn, {});
  info.version = {3};
  info.replicas = {"w"};
  s.change(info);
  s.fail_commit(std::move(published), Errc::kInsufficientStorage);
  s.gathering = false;
  CHECK(s.send({"b"}) == "hand back");
  s.wait(1000);
  CHECK(s.outbox.resignations.size() == 1);
}

TEST_CASE("the table of terms is written again when its commit failed", "[storage][service]") {
  FollowerScript s;
  s.gathering = true;
  s.publish(1, {0});
  s.service.seal(s.turn, s.now, s.outbox);
  s.fail_commit();
  s.gathering = false;
  REQUIRE(s.replica().end() == s.start);
  s.publish(1, {0});
  REQUIRE(s.replica().end().value == s.start.value + 1);
  CHECK(s.records.epochs[{0}] == s.replica().epochs());
}

TEST_CASE("a snapshot of which a part could not be written begins anew", "[storage][service]") {
  FollowerScript s;
  s.snapshot({1}, {3}, {0, 1});
  s.gathering = true;
  s.snapshot({3}, {5}, {2, 3});
  REQUIRE(s.service.partition({0}).rebuilding());
  s.fail_commit();
  s.gathering = false;
  CHECK(s.service.partition({0}).rebuilding());
  s.wait(1000);
  CHECK(s.last_fetch().end == Lsn{1});
  CHECK(s.last_fetch().resume == Lsn{1});
  s.snapshot({1}, {9}, {0, 1, 2, 3});
  CHECK_FALSE(s.service.partition({0}).rebuilding());
  CHECK(s.records.bytes.size() == 4);
}

// What it wrote would not be seen when it is compared, and would stay for good.
TEST_CASE("a snapshot does not begin while a part of an earlier one is on its way to the disk", "[storage][service]") {
  FollowerScript s;
  s.snapshot({1}, {3}, {0, 1});
  s.gathering = true;
  s.snapshot({3}, {5}, {2, 3});
  const std::uint64_t before = s.service.partition({0}).generation();
  s.snapshot({1}, {9}, {0});
  CHECK(s.service.partition({0}).generation() == before);
  s.gathering = false;
  s.commit();
  s.snapshot({1}, {9}, {0});
  CHECK_FALSE(s.service.partition({0}).rebuilding());
  CHECK(s.records.bytes.size() == 1);
}

TEST_CASE("rule 11: a leader that metad may have given up delivers nothing, until it is heard again",
          "[storage][service]") {
  ServiceScript s;
  PartitionInfo info = led_by(2, "w", 7);
  SECTION("with another replica") {
    s.change(info);
    s.service.hold_lease(s.now.steady + DurationMs{500}, s.now, s.outbox);
    s.send({"a", "b"});
    CHECK(s.receive() == "ok: a");
    s.wait(500);
    CHECK(s.receive(1, 5000).empty());
    CHECK(s.ack(s.receipts[0]) == "ok: ok");  // what is settled goes through the log
    s.service.hold_lease(s.now.steady + DurationMs{500}, s.now, s.outbox);
    CHECK(s.taken() == "ok: b");
  }
  SECTION("alone") {
    s.service.hold_lease(s.now.steady, s.now, s.outbox);
    s.send({"a"});
    CHECK(s.receive() == "ok: a");
  }
}

// It does not know what the leader behind it has confirmed to the producer.
TEST_CASE("a deposed leader does not say that a producer is out of sequence", "[storage][service]") {
  ServiceScript s;
  s.change(led_by(2, "w", 7));
  CHECK(s.send({"a"}, "p", 1) == "ok: 0-1");
  s.gathering = true;
  CHECK(s.send({"c"}, "p", 3).empty());
  SECTION("it is, for a leader that can commit") {
    s.commit();
    CHECK(s.taken() == "out_of_sequence");
  }
  SECTION("another leads meanwhile") {
    const PartitionInfo info = led_by(3, "other", 8);
    const CatalogChange change = info;
    s.catalog.apply(CatalogUpdate{0, s.catalog.version(), {s.catalog.version().value + 1}, {change}});
    s.service.follow_catalog({7}, &change, s.now, s.turn, s.outbox);
    s.commit();
    CHECK(s.taken() == "unavailable");
  }
}

TEST_CASE("rule 12: an epoch that goes back stops the worker", "[storage][service]") {
  ServiceScript s;
  CHECK(s.followed);
  const auto follow = [&s](std::uint32_t epoch, std::uint64_t version, const char* leader) {
    s.change(PartitionInfo{.id = {0},
                           .epoch = {epoch},
                           .version = {version},
                           .leader = leader,
                           .leader_session = {7},
                           .replicas = {"other", "w"},
                           .in_sync = {"other", "w"}});
  };
  follow(3, 4, "other");
  CHECK(s.followed);
  SECTION("to a term that another leads") { follow(2, 5, "other"); }
  SECTION("to a term that this worker leads") { follow(2, 5, "w"); }
  SECTION("to the term that another led, for this worker to lead") { follow(3, 5, "w"); }
  CHECK_FALSE(s.followed);
}

TEST_CASE("receipts of the process's own earlier terms are good, others are stale", "[storage][service]") {
  ServiceScript s;
  s.send({"a", "b"});
  s.receive(2);
  const auto receipts = s.receipts;
  s.change(PartitionInfo{.id = {0},
                         .epoch = {5},
                         .version = {6},
                         .leader = "w",
                         .leader_session = {7},
                         .replicas = {"w"},
                         .in_sync = {"w"}});
  CHECK(s.ack(receipts[0]) == "ok: ok");
  Receipt forged = *parse_receipt(receipts[1]);
  forged.epoch = {0};
  CHECK(s.ack(receipt_text(forged)) == "ok: stale_receipt");
  forged.epoch = {6};
  CHECK(s.ack(receipt_text(forged)) == "ok: stale_receipt");
  forged = *parse_receipt(receipts[1]);
  forged.partition = {3};
  CHECK(s.ack(receipt_text(forged)) == "ok: stale_receipt");
}

TEST_CASE("a deleted queue tells those who wait, and its messages go, a part at a time", "[storage][service]") {
  ServiceScript s;
  std::vector<std::string> bodies(1000, "x");
  for (int i = 0; i < 12; ++i) s.send(bodies);
  RequestHeader header;
  header.op = Op::kReceive;
  header.wait_ms = DurationMs{5000};
  CHECK(s.request(header, {}, {2}).empty());
  s.change(QueueDeleted{{2}, "r"});
  CHECK(s.taken() == "no_such_queue");
  s.change(QueueDeleted{{1}, "q"});
  s.wait(1);
  CHECK(s.records.bytes.size() == 7000);
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.empty());
  CHECK_FALSE(s.service.next_deadline());
}

TEST_CASE("a queue that is deleted while its messages are on their way to the disk leaves none", "[storage][service]") {
  ServiceScript s;
  s.gathering = true;
  s.send({"a"});
  CatalogUpdate update{0, s.catalog.version(), {9}, {QueueDeleted{{1}, "q"}}};
  s.catalog.apply(update);
  s.gathering = false;
  s.commit();
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.empty());
}

TEST_CASE("messages of a deleted queue that are still in the store do not come back", "[storage][service]") {
  ServiceScript s;
  std::vector<std::string> bodies(1000, "x");
  for (int i = 0; i < 6; ++i) s.send(bodies, "p", static_cast<std::uint64_t>(1 + 1000 * i));
  s.change(QueueDeleted{{1}, "q"});
  s.wait(1);
  REQUIRE(s.records.bytes.size() == 1000);
  CHECK(s.records.producers.empty());

  ServiceScript again;  // a new process over what is left
  again.records = s.records;
  again.change(QueueDeleted{{1}, "q"});
  again.service.restore_dropped(s.records.dropped.begin()->first, s.records.dropped.begin()->second);
  for (const auto& [place, bytes] : s.records.bytes) {
    again.service.partition({0}).restore_message(place.lsn, *read_record_header(bytes), {}, again.now);
  }
  CHECK(again.counts().ready == 0);
  again.wait(1);
  again.wait(1);
  CHECK(again.records.bytes.empty());
  CHECK(again.records.dropped.empty());
  CHECK(again.service.stored() == 0);
}

TEST_CASE("a deletion that could not be written is tried again", "[storage][service]") {
  ServiceScript s;
  s.send({"a"});
  s.gathering = true;
  CatalogUpdate update{0, s.catalog.version(), {9}, {QueueDeleted{{1}, "q"}}};
  s.catalog.apply(update);
  const CatalogChange change = update.changes[0];
  REQUIRE(s.service.follow_catalog({7}, &change, s.now, s.turn, s.outbox));
  s.fail_commit();
  s.gathering = false;
  s.wait(999);
  CHECK(s.records.bytes.size() == 1);
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.empty());
}

TEST_CASE("a follower removes a deleted queue when the log says so", "[storage][service]") {
  FollowerScript s;
  s.publish(3, {0, 1, 2});
  s.change(QueueDeleted{{1}, "q"});
  CHECK(s.records.bytes.size() == 3);  // the leader decides when
  std::string drop;
  RecordHeader header;
  header.type = RecordType::kDropQueue;
  header.epoch = {2};
  header.queue = {1};
  const std::size_t at = ship_record_space(drop, {4}, record_bytes(header));
  write_record(drop.data() + at, {{0}, {4}}, {header, {}, {}, {}});
  s.hear(AppendRecords{{4}, 1, {2}, {4}, {1}}, drop, {8});
  CHECK(s.counts().ready == 3);
  s.hear(AppendRecords{{5}, 0, {2}, {5}, {1}}, {}, {8});
  CHECK(s.counts().ready == 0);
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.size() == 1);  // the record itself, until all replicas have it
}

TEST_CASE("a follower purges a queue when the log says so", "[storage][service]") {
  FollowerScript s;
  s.publish(3, {0, 1, 2});
  std::string purge;
  RecordHeader header;
  header.type = RecordType::kPurge;
  header.epoch = {2};
  header.queue = {1};
  const std::size_t at = ship_record_space(purge, {4}, record_bytes(header));
  write_record(purge.data() + at, {{0}, {4}}, {header, {}, {}, {}});
  s.hear(AppendRecords{{4}, 1, {2}, {4}, {1}}, purge, {8});
  CHECK(s.counts().ready == 3);
  s.hear(AppendRecords{{5}, 1, {2}, {5}, {1}}, s.shipped({4}), {8});
  CHECK(s.counts().ready == 0);
  CHECK(s.records.dropped.size() == 1);  // for a restart
  s.hear(AppendRecords{{6}, 0, {2}, {6}, {1}}, {}, {8});
  CHECK(s.counts().ready == 1);  // what came behind it
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.size() == 2);  // and the record itself, until all replicas have it
  CHECK(s.records.dropped.empty());
}

TEST_CASE("a queue of its leader's confirmation answers before the replicas, and says so", "[storage][service]") {
  ServiceScript s;
  PartitionInfo info = led_by(2, "w", 7);
  info.in_sync = {"w", "other"};
  s.change(info);
  CHECK(s.send({"a"}).empty());  // waits for "other"
  s.change(QueueInfo{{1}, "q", {0}, {0}, {.confirm = Confirmation::kLeader}});
  CHECK(s.send({"b"}) == "ok: 0-2");
  CHECK(s.confirmed == Confirmation::kLeader);
  CHECK(s.receive() == "nothing");  // delivered no sooner than by other queues
  s.gathering = true;
  CHECK(s.send({"c"}).empty());  // but never before the leader's own disk
  s.fail_commit();
  CHECK(s.taken() == "unavailable; insufficient_storage");
}

TEST_CASE("idle producers are forgotten in time", "[storage][service]") {
  ServiceLimits limits;
  limits.producer_idle = DurationMs{1000};
  ServiceScript s(limits);
  s.send({"a"}, "p", 1);
  CHECK(s.send({"b"}, "p", 3) == "out_of_sequence");
  s.wait(120'000);
  CHECK(s.send({"b"}, "p", 2) == "out_of_sequence");
  CHECK(s.send({"b"}, "p", 1) == "ok: 0-3");
}

TEST_CASE("a worker that ends answers every waiting receive", "[storage][service]") {
  ServiceScript s;
  s.receive(1, 5000);
  s.receive(1, 5000);
  s.service.end_receivers(s.outbox);
  CHECK(s.taken() == "nothing; nothing");
  CHECK(s.send({"a"}) == "ok: 0-1");
}

TEST_CASE("what is no request of a worker is refused", "[storage][service]") {
  ServiceScript s;
  CHECK(s.raw("\xc1", {}) == "malformed");
  RequestHeader header;
  header.op = Op::kPing;
  CHECK(s.request(header, {}) == "internal");
  header.op = Op::kAck;
  CHECK(s.request(header, "\x90") == "invalid_argument");
  CHECK(s.request(header, "junk") == "malformed");
  header.op = Op::kSend;
  CHECK(s.request(header, {}) == "malformed");
}

}  // namespace dmq
