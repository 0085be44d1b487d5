// Purging a queue: what goes, what stays, and what restarts and failed commits make of it.
#include <catch2/catch.hpp>

#include "protocol/msgpack_reader.hpp"
#include "service_script.hpp"

namespace dmq {
namespace {

struct PurgeScript : ServiceScript {
  using ServiceScript::ServiceScript;
  // How many went; or the code of an error; empty: no answer yet.
  std::string purge(QueueId queue = {1}) {
    RequestHeader header;
    header.op = Op::kQueuePurge;
    return told(request(header, {}, queue));
  }
  std::string told(const std::string& text) {
    if (text != "ok: a map") return text;
    MsgpackReader reader;
    const auto map =
        reader.read(last_payload, {.array_items = 1, .map_keys = 2, .string_bytes = 20, .binary_bytes = 20});
    REQUIRE(map);
    const msgpack::object* removed = find_key(*map, "removed");
    REQUIRE(removed != nullptr);
    return std::to_string(*as_number(*removed));
  }
  // A second purge on its way to the disk, while what the first one took is in the store still.
  Turn purge_again() {
    gathering = true;
    CHECK(purge().empty());
    Turn second = std::exchange(turn, {});
    service.seal(second, now, outbox);
    return second;
  }
  void send_thousands(int count) {
    const std::vector<std::string> bodies(1000, "x");
    for (int i = 0; i < count; ++i) send(bodies);
  }
  // A new process over what is in the store.
  void restore_from(const MemoryRecords& store) {
    records = store;
    for (const auto& [place, below] : store.dropped) service.restore_dropped(place, below);
    for (const auto& [place, bytes] : store.bytes)
      service.partition({0}).restore_message(place.lsn, *read_record_header(bytes), {}, now);
  }
};

}  // namespace

TEST_CASE("a purge takes all that is in the queue now, and tells how many", "[storage][purge]") {
  PurgeScript s;
  s.send({"a", "b", "c", "d"});
  s.send_one("e", {.delay_ms = DurationMs{500}});
  s.receive(2);
  s.settle(Op::kNack, {s.receipts[1]}, 500);
  const std::string receipt = s.receipts[0];
  CHECK(s.purge() == "5");
  CHECK(s.confirmed == Confirmation::kInSync);
  CHECK(s.counts().ready + s.counts().leased + s.counts().delayed + s.counts().bytes == 0);
  CHECK(s.ack(receipt) == "ok: stale_receipt");
  CHECK(s.receive() == "nothing");
  CHECK(s.wait(1000).empty());
  CHECK(s.receive() == "nothing");
  CHECK(s.records.bytes.empty());
  CHECK(s.records.returns.empty());
  CHECK(s.records.dropped.empty());
  CHECK(s.service.stored() == 0);
  CHECK(s.purge() == "0");
}

TEST_CASE("a purge leaves the queue, its producers, other queues and what comes later", "[storage][purge]") {
  PurgeScript s;
  s.send({"a", "b"}, "p", 1);
  RequestHeader header;
  header.op = Op::kSend;
  SendWriter writer;
  writer.add("other", {});
  s.request(header, writer.finish(), {2});
  CHECK(s.purge() == "2");
  CHECK(s.send({"b"}, "p", 2) == "ok: duplicate");
  CHECK(s.send({"c"}, "p", 3) == "ok: 0-5");
  s.wait(1);
  s.wait(1);
  CHECK(s.records.bytes.size() == 2);
  CHECK(s.records.producers.size() == 1);
  CHECK(s.receive(10) == "ok: c");
  CHECK(s.counts({2}).ready == 1);
}

TEST_CASE("a purge is answered after its commit, with what was there by then", "[storage][purge]") {
  PurgeScript s;
  s.send({"a"});
  s.gathering = true;
  CHECK(s.send({"b"}).empty());
  CHECK(s.purge().empty());
  CHECK(s.send({"c"}).empty());
  CHECK(s.counts().ready == 1);  // until it is committed
  s.commit();
  CHECK(s.told(s.taken().substr(0, 9)) == "ok: 0-2; ");
  CHECK(s.counts().ready == 1);
  s.gathering = false;
  CHECK(s.receive(10) == "ok: c");
}

TEST_CASE("two purges in one commit tell each message once", "[storage][purge]") {
  PurgeScript s;
  s.send({"a", "b", "c"});
  s.gathering = true;
  s.purge();
  s.send({"d"});
  s.purge();
  s.commit();
  CHECK(s.taken() == "ok: a map; ok: 0-5; ok: a map");
  CHECK(s.told("ok: a map") == "1");
}

TEST_CASE("a purge that cannot be written removes nothing, and can be repeated", "[storage][purge]") {
  PurgeScript s;
  s.send({"a", "b"});
  s.receive();
  const std::string receipt = s.receipts[0];
  s.gathering = true;
  CHECK(s.purge().empty());
  s.fail_commit();
  CHECK(s.taken() == "insufficient_storage");
  s.gathering = false;
  CHECK(s.receive() == "ok: b");
  CHECK(s.wait(1).empty());
  CHECK(s.records.bytes.size() == 2);
  CHECK(s.records.dropped.empty());
  CHECK(s.purge() == "2");
  CHECK(s.ack(receipt) == "ok: stale_receipt");
}

TEST_CASE("what an ack and a purge both took is gone once, and leaves nothing behind", "[storage][purge]") {
  PurgeScript s;
  s.send({"a", "b", "c"});
  s.receive(3);
  const std::vector<std::string> receipts = s.receipts;
  s.gathering = true;
  s.purge();
  Turn purging = std::exchange(s.turn, {});  // on its way to the disk
  s.service.seal(purging, s.now, s.outbox);
  s.records.apply(purging.writes);
  s.ack(receipts[0]);
  s.settle(Op::kNack, {receipts[1]}, 100);
  s.service.committed(purging, s.now, s.turn, s.outbox);
  s.wait(1);  // they are taken out of the store in the turn that stores what came of the nack
  s.commit();
  s.gathering = false;
  s.wait(1);
  s.wait(500);
  CHECK(s.records.bytes.empty());
  CHECK(s.records.returns.empty());
  CHECK(s.service.stored() == 0);
  CHECK(s.receive(10) == "nothing");
}

TEST_CASE("what a purge has not yet removed from the store does not come back after a restart", "[storage][purge]") {
  PurgeScript s;
  s.send_thousands(6);
  CHECK(s.purge() == "6000");
  s.send({"later"});
  s.wait(1);
  REQUIRE(s.records.bytes.size() == 1001);

  PurgeScript again;
  again.restore_from(s.records);
  CHECK(again.counts().ready == 1);
  again.wait(1);
  again.wait(1);
  CHECK(again.records.bytes.size() == 1);
  CHECK(again.records.dropped.empty());
  CHECK(again.receive(10) == "ok: later");
}

TEST_CASE("the row of a purge goes also when a later one could not be written", "[storage][purge]") {
  PurgeScript s;
  s.send_thousands(1);
  CHECK(s.purge() == "1000");  // its messages are in the store still
  Turn second = s.purge_again();
  s.wait(0);  // the first one's removal ends
  s.fail_commit(std::move(second), Errc::kInsufficientStorage);
  s.gathering = false;
  for (int i = 0; i < 5; ++i) s.wait(0);
  CHECK(s.records.bytes.empty());
  CHECK(s.records.dropped.empty());
}

TEST_CASE("the end of one purge does not forget another that is being written", "[storage][purge]") {
  PurgeScript s;
  s.send_thousands(5);
  CHECK(s.purge() == "5000");  // its messages are in the store still
  s.send_thousands(6);
  Turn second = s.purge_again();
  s.records.apply(second.effects);
  s.records.apply(second.writes);
  s.wait(1);  // the first one comes to its end
  s.service.committed(second, s.now, s.turn, s.outbox);
  s.commit();
  REQUIRE(s.records.bytes.size() == 6000);
  CHECK(s.records.dropped.size() == 1);

  PurgeScript again;
  again.restore_from(s.records);
  CHECK(again.counts().ready == 0);
}

TEST_CASE("a queue is not purged while too few replicas are in sync", "[storage][purge]") {
  PurgeScript s;
  s.send({"a"});
  s.change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "w",
                         .leader_session = {7},
                         .min_in_sync = 2,
                         .replicas = {"w", "other"},
                         .in_sync = {"w"}});
  CHECK(s.purge() == "not_enough_replicas");
  CHECK(s.counts().ready == 1);
}

TEST_CASE("a purge is answered when the replicas have it, also where a leader's word is enough", "[storage][purge]") {
  PurgeScript s;
  s.send({"a"});
  s.change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "w",
                         .leader_session = {7},
                         .replicas = {"w", "other"},
                         .in_sync = {"w", "other"}});
  s.change(QueueInfo{{1}, "q", {0}, {0}, {.confirm = Confirmation::kLeader}});
  CHECK(s.purge().empty());
  CHECK(s.counts().ready == 1);
  const Lsn end = s.service.partition({0}).replica().end();
  s.service.handle_peer({0, {0}, {2}, "other", {9}, AckRecords{end}}, {}, s.now, s.turn, s.outbox);
  CHECK(s.told(s.taken()) == "1");
  CHECK(s.counts().ready == 0);
}

}  // namespace dmq
