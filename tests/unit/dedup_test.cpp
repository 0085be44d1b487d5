// Dedup ids: of messages with the same one a queue takes one, for a time, while it is there, or the newest.
#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

constexpr std::int64_t kWindowMs = 60'000;

struct Deduped : ServiceScript {
  explicit Deduped(DedupMode mode = DedupMode::kWindow, QueueLimits limits = {}) {
    settings.dedup = {mode, DurationMs{kWindowMs}};
    settings.limits = limits;
    set(settings);
  }
  // "i=body" has the id "i"; "=body" has none.
  std::string send(const std::vector<std::string>& messages, const MessageOptions& options = {},
                   std::string_view producer = "") {
    SendWriter writer;
    for (const std::string& message : messages) {
      MessageOptions each = options;
      const std::size_t end = message.find('=');
      each.dedup_id = std::string_view(message).substr(0, end);
      writer.add(std::string_view(message).substr(end + 1), pack_message_pairs({}, each));
    }
    RequestHeader header;
    header.op = Op::kSend;
    header.producer = producer;
    if (!producer.empty()) header.sequence = {1};
    return request(header, writer.finish());
  }
  void consume(std::uint64_t max = 10) {
    receive(max);
    settle(Op::kAck, std::vector(receipts));
  }
  std::size_t known() { return service.partition({0}).producers().size(); }

  QueueSettings settings;
};

// Another process over the same store.
void restart_with_ids(const Deduped& from, Deduped& to) {
  restart(from, to);
  for (const auto& [key, state] : from.records.producers) to.service.restore_producer(key, state);
}

}  // namespace

TEST_CASE("of messages with a dedup id one is taken within the window", "[storage][dedup]") {
  Deduped s;
  CHECK(s.send({"a=1", "=2", "b=3"}) == "ok: 0-1 0-2 0-3");
  CHECK(s.send({"a=4", "=5", "c=6", "b=7"}) == "ok: duplicate 0-4 0-5 duplicate");
  CHECK(s.send({"d=8", "d=9", "a=10"}) == "ok: 0-6 duplicate duplicate");
  CHECK(s.send({"a=11", "b=12"}) == "ok: duplicate duplicate");
  CHECK(s.receive(10) == "ok: 1 2 3 5 6 8");
  SECTION("also when the first is acked") {
    s.settle(Op::kAck, std::vector(s.receipts));
    CHECK(s.send({"a=13"}) == "ok: duplicate");
  }
  SECTION("behind it the next one is, and begins it anew") {
    s.wait(kWindowMs - 1);
    CHECK(s.send({"a=13"}) == "ok: duplicate");
    s.now.wall = s.now.wall + DurationMs{1};  // before a tick forgets it
    CHECK(s.send({"a=14"}).starts_with("ok: 0-"));
    CHECK(s.send({"a=15"}) == "ok: duplicate");
    s.wait(kWindowMs - 1);
    CHECK(s.send({"a=16"}) == "ok: duplicate");
  }
  SECTION("each queue has its own") {
    SendWriter writer;
    MessageOptions options;
    options.dedup_id = "a";
    writer.add("other", pack_message_pairs({}, options));
    RequestHeader header;
    header.op = Op::kSend;
    CHECK(s.request(header, writer.finish(), {2}).starts_with("ok: 0-"));
  }
}

TEST_CASE("an id is forgotten behind its window, and no sooner", "[storage][dedup]") {
  Deduped s;
  s.send({"a=1", "b=2"});
  s.wait(kWindowMs / 2);
  s.send({"c=3"});
  s.wait(kWindowMs / 2 - 1);
  CHECK(s.known() == 3);
  s.wait(1000);
  CHECK(s.known() == 1);
  CHECK(s.records.producers.size() == 1);
  s.wait(kWindowMs / 2);
  CHECK(s.known() == 0);
}

TEST_CASE("what is on its way to the disk is known by its id, what could not be written is not", "[storage][dedup]") {
  Deduped s;
  s.gathering = true;
  CHECK(s.send({"a=1"}).empty());
  CHECK(s.send({"a=2"}).empty());
  SECTION("it is written") {
    s.commit();
    CHECK(s.taken() == "ok: 0-1; ok: duplicate");
  }
  SECTION("it is not") {
    s.fail_commit();
    CHECK(s.taken() == "insufficient_storage; insufficient_storage");
    s.gathering = false;
    s.wait(2000);
    CHECK(s.send({"a=3"}) == "ok: 0-1");
  }
}

TEST_CASE("ids outlive a restart", "[storage][dedup]") {
  Deduped before;
  before.send({"a=1"});
  before.consume();
  Deduped after;
  restart_with_ids(before, after);
  CHECK(after.send({"a=2"}) == "ok: duplicate");
  after.now.wall = after.now.wall + DurationMs{kWindowMs};
  CHECK(after.send({"a=3"}).starts_with("ok: 0-"));
}

TEST_CASE("while a message is in the queue none with its id is taken", "[storage][dedup]") {
  Deduped s(DedupMode::kWhilePresent);
  CHECK(s.send({"a=1", "a=2"}) == "ok: 0-1 duplicate");
  s.wait(3 * kWindowMs);
  CHECK(s.send({"a=3"}) == "ok: duplicate");
  CHECK(s.receive() == "ok: 1");
  CHECK(s.send({"a=4"}) == "ok: duplicate");
  s.ack(s.receipts[0]);
  CHECK(s.send({"a=5", "a=6"}).ends_with(" duplicate"));
  CHECK(s.receive(10) == "ok: 5");
  s.ack(s.receipts[0]);
  s.wait(1000);
  CHECK(s.known() == 0);
}

TEST_CASE("a message takes the place of the one with its id", "[storage][dedup]") {
  Deduped s(DedupMode::kReplace);
  SECTION("that is ready") {
    CHECK(s.send({"a=1"}) == "ok: 0-1");
    CHECK(s.send({"=2", "a=3"}) == "ok: 0-2 0-3");
    CHECK(s.receive(10) == "ok: 2 3");
    CHECK(s.counts().leased == 2);
    CHECK_FALSE(s.records.bytes.contains({{0}, {1}}));
  }
  SECTION("that is delayed") {
    MessageOptions later;
    later.delay_ms = DurationMs{500};
    s.send({"a=1"}, later);
    s.wait(400);
    s.send({"a=2"}, later);
    s.wait(400);
    CHECK(s.receive(10) == "nothing");
    s.wait(100);
    CHECK(s.receive(10) == "ok: 2");
  }
  SECTION("that is of the same request, or on its way to the disk") {
    s.gathering = true;
    s.send({"a=1", "a=2"});
    s.send({"a=3"});
    s.commit();
    s.gathering = false;
    CHECK(s.taken() == "ok: 0-1 0-2; ok: 0-3");
    CHECK(s.receive(10) == "ok: 3");
  }
  SECTION("not that which a consumer has, and not one that is dead") {
    s.send({"a=1"});
    CHECK(s.receive() == "ok: 1");
    s.send({"a=2"});
    RequestHeader nack;
    nack.op = Op::kNack;
    nack.kind = NackKind::kFatal;
    s.request(nack, encode_receipts(std::vector(s.receipts)));
    s.send({"a=3"});
    CHECK(s.receive(10) == "ok: 3");
    CHECK(s.counts().dead == 1);
  }
}

TEST_CASE("what cannot be replaced, since that cannot be written, is as before", "[storage][dedup]") {
  Deduped s(DedupMode::kReplace);
  MessageOptions later;
  later.delay_ms = DurationMs{5000};
  s.send({"a=1"}, later);
  s.send({"b=2"});
  s.gathering = true;
  s.send({"a=3", "b=4"});
  Turn sent = std::exchange(s.turn, {});
  s.service.seal(sent, s.now, s.outbox);
  s.records.apply(sent.writes);
  s.service.committed(sent, s.now, s.turn, s.outbox);
  s.fail_commit();  // of the turn that takes the old ones out
  s.gathering = false;
  s.wait(2000);
  CHECK(s.receive(10) == "ok: 2 3 4");
  s.wait(3000);
  CHECK(s.receive(10) == "ok: 1 2 3 4");  // with those whose leases are over
}

TEST_CASE("with a dedup id a message has no producer", "[storage][dedup]") {
  Deduped s;
  CHECK(s.send({"a=1"}, {}, "p") == "invalid_argument");
  CHECK(s.counts().ready == 0);
}

TEST_CASE("what is not taken needs no room in a full queue", "[storage][dedup]") {
  Deduped s(DedupMode::kWindow, {.messages = 2});
  s.send({"a=1", "b=2"});
  CHECK(s.send({"a=3", "b=4"}) == "ok: duplicate duplicate");
  CHECK(s.send({"a=3", "c=4"}) == "queue_full");
  CHECK(s.known() == 2);
}

TEST_CASE("ids have a limit, which a request does not exceed", "[storage][dedup]") {
  Deduped s;
  auto& producers = s.service.partition({0}).producers();
  for (std::size_t i = 0; i + 1 < kProducersMax; ++i)
    producers.restore({{0}, {1}, std::to_string(i)}, {{1}, s.now.wall, {1}});
  CHECK(s.send({"a=1", "b=2"}) == "unavailable");
  CHECK(s.send({"a=1"}) == "ok: 0-1");
  CHECK(s.send({"a=1"}) == "ok: duplicate");
  CHECK(s.send({"b=2"}) == "unavailable");
}

}  // namespace dmq
