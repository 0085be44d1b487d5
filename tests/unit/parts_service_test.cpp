// What a worker makes of the parts of a queue that is spread over several partitions.
#include <catch2/catch.hpp>

#include "protocol/browse.hpp"
#include "protocol/parts.hpp"
#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

constexpr std::uint16_t kPartitions = 4;

// A worker that leads four partitions: with "q" in partitions 3 and 0, and "r" in partition 1, whose dead go to "q".
struct Parts : ServiceScript {
  Parts() {
    CatalogSnapshot snapshot;
    snapshot.version = {2};
    snapshot.partitions = kPartitions;
    QueueInfo q{{1}, "q", {3}, {0}, {}};
    q.settings.partitions = q.settings.key_partitions = 2;
    q.settings.limits.messages = 4;
    QueueInfo r{{2}, "r", {1}, {0}, {}};
    r.settings.dead_letter = "q";
    snapshot.queues = {q, r};
    for (std::uint16_t i = 0; i < kPartitions; ++i) {
      snapshot.partition_infos.push_back({.id = {i},
                                          .epoch = {1},
                                          .version = {1},
                                          .leader = "w",
                                          .leader_session = {7},
                                          .replicas = {"w"},
                                          .in_sync = {"w"}});
    }
    snapshot.workers = {{"w", "inproc://w", {7}, true, "commit"}};
    catalog.apply(snapshot);
    follow();
  }
  std::string ask(RequestHeader header, const std::string& payload, PartitionId place, QueueId queue = {1}) {
    header.queue = "q";
    header.id = ++last_id;
    const std::string bytes = encode_request_header(header);
    Envelope envelope;
    envelope.queue = queue;
    envelope.partition = place;
    service.handle({{"router", encode_envelope(envelope)}, envelope, bytes, payload}, now, turn, outbox);
    commit();
    return taken();
  }
  std::string send(PartitionId place, QueueId queue, std::string_view key, int count = 1) {
    SendWriter writer;
    Attributes attributes;
    attributes.key = key;
    for (int i = 0; i < count; ++i) writer.add(key.empty() ? "x" : key, pack_message_pairs(attributes, {}));
    RequestHeader header;
    header.op = Op::kSend;
    return ask(header, writer.finish(), place, queue);
  }
  std::uint64_t ready(PartitionId place) {
    const Queue* queue = service.partition(place).find_queue({1});
    return queue == nullptr ? 0 : queue->counts().ready;
  }
  // A key of each part of "q".
  static std::string key_of(std::uint16_t part) {
    QueueSettings settings;
    settings.key_partitions = 2;
    for (char c = 'a';; ++c) {
      if (part_of_key(ordering_key({&c, 1}), settings) == part) return {c};
    }
  }
};

}  // namespace

TEST_CASE("a key is taken in its part only", "[storage][parts]") {
  Parts s;
  CHECK(s.send({3}, {1}, Parts::key_of(0)) == "ok: 3-1");
  CHECK(s.send({0}, {1}, Parts::key_of(0)) == "ok: invalid_argument");
  CHECK(s.send({0}, {1}, Parts::key_of(1)) == "ok: 0-1");
  CHECK(s.send({1}, {2}, Parts::key_of(1)) == "ok: 1-1");  // of a queue with one
}

TEST_CASE("each part of a queue takes its share of what it may hold", "[storage][parts]") {
  Parts s;
  CHECK(s.send({3}, {1}, "", 2) == "ok: 3-1 3-2");
  CHECK(s.send({3}, {1}, "") == "queue_full");
  CHECK(s.send({0}, {1}, "", 2) == "ok: 0-1 0-2");
}

TEST_CASE("what moves to a queue goes to the part of its key", "[storage][parts]") {
  Parts s;
  for (const std::uint16_t part : {std::uint16_t{0}, std::uint16_t{1}}) {
    s.send({1}, {2}, Parts::key_of(part));
    RequestHeader receive;
    receive.op = Op::kReceive;
    s.ask(receive, {}, {1}, {2});
    s.commit();
    s.taken();
    RequestHeader nack;
    nack.op = Op::kNack;
    nack.kind = NackKind::kFatal;
    CHECK(s.ask(nack, encode_receipts(s.receipts), {1}, {2}) == "ok: ok");
  }
  for (int i = 0; i < 10; ++i) s.wait(300);
  CHECK(s.ready({3}) == 1);
  CHECK(s.ready({0}) == 1);
  CHECK(s.service.partition({1}).find_queue({2})->empty());
}

TEST_CASE("looking goes on in the next part", "[storage][parts]") {
  Parts s;
  s.send({3}, {1}, "");
  RequestHeader browse;
  browse.op = Op::kBrowse;
  const auto after = [&s] {
    MsgpackReader reader;
    const auto page = decode_browse(s.last_payload, reader);
    REQUIRE(page);
    return std::string(page->after);
  };
  s.ask(browse, {}, {3});
  const std::string cursor = after();
  CHECK(parse_cursor(cursor)->partition == PartitionId{0});
  browse.after = cursor;
  s.ask(browse, {}, {0});
  CHECK(after().empty());
  RequestHeader redrive;
  redrive.op = Op::kQueueRedrive;
  s.ask(redrive, {}, {3});
  CHECK(s.last_payload.find("0-0") != std::string::npos);
  redrive.after = "0-0";
  CHECK(s.ask(redrive, {}, {0}).starts_with("ok"));
  CHECK(s.last_payload.find("next") == std::string::npos);
}

TEST_CASE("those who wait in any part are served when the queue is resumed", "[storage][parts]") {
  Parts s;
  QueueInfo paused = *s.catalog.find_queue(QueueId{1});
  paused.settings.pause_receive = true;
  s.change(paused);
  s.send({0}, {1}, "");
  RequestHeader receive;
  receive.op = Op::kReceive;
  receive.wait_ms = DurationMs{5000};
  CHECK(s.ask(receive, {}, {0}).empty());
  paused.settings.pause_receive = false;
  s.change(paused);
  CHECK(s.taken() == "ok: x");
}

}  // namespace dmq
