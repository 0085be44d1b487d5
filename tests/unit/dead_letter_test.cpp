// Messages that come back too often, or can never be done: retries, dead letters, and their way back.
#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

// A script whose queue "q" has settings; its dead letters go to "r", or nowhere.
struct DeadLetters : ServiceScript {
  explicit DeadLetters(const RetryPolicy& retry, const std::string& dead_letter = "r") {
    QueueSettings settings;
    settings.retry = retry;
    settings.dead_letter = dead_letter;
    set(settings);
  }
  std::string nack(NackKind kind, std::string_view reason = {}, std::optional<DurationMs> delay = {}) {
    RequestHeader header;
    header.op = Op::kNack;
    header.kind = kind;
    header.reason = reason;
    header.delay_ms = delay;
    return request(header, encode_receipts(receipts));
  }
  // Receives and nacks so often.
  void fail(int times) {
    for (int i = 0; i < times; ++i) {
      receive();
      nack(NackKind::kFailed);
    }
  }
  std::string receive_from(QueueId queue, std::uint64_t max = 10) {
    RequestHeader header;
    header.op = Op::kReceive;
    header.max = max;
    header.lease_ms = DurationMs{1000};
    return request(header, {}, queue);
  }
  std::string redrive(QueueId queue, const std::vector<std::string>& ids = {}) {
    RequestHeader header;
    header.op = Op::kQueueRedrive;
    return request(header, ids.empty() ? std::string() : encode_receipts(ids), queue);
  }
  void lead_anew() {
    change(PartitionInfo{.id = {0},
                         .epoch = {2},
                         .version = {2},
                         .leader = "w",
                         .leader_session = {7},
                         .replicas = {"w"},
                         .in_sync = {"w"}});
  }
  // Until nothing moves any more.
  void settle_down() {
    for (int i = 0; i < 10; ++i) wait(0);
  }
  const Delivery& last() {
    decode_deliveries(last_payload, reader, deliveries_seen);
    return deliveries_seen.back();
  }

  MsgpackReader reader;
  std::vector<Delivery> deliveries_seen;
};

}  // namespace

TEST_CASE("a message that is given back was not delivered", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 2});
  s.send({"a"});
  for (int i = 0; i < 5; ++i) {
    CHECK(s.receive() == "ok: a");
    CHECK(s.deliveries == 1);
    CHECK(s.nack(NackKind::kGiveBack) == "ok: ok");
  }
  s.fail(1);
  s.receive();
  CHECK(s.deliveries == 2);
  s.nack(NackKind::kGiveBack, {}, DurationMs{50});
  CHECK(s.receive() == "nothing");
  s.wait(50);
  CHECK(s.receive() == "ok: a");
  CHECK(s.deliveries == 2);
}

TEST_CASE("a message that was given back with a delay before it counted waits through a restart",
          "[storage][dead-letter]") {
  DeadLetters s({});
  s.send({"a"});
  s.receive();
  s.nack(NackKind::kGiveBack, {}, DurationMs{50});
  ServiceScript again;
  restart(s, again);
  CHECK(again.receive() == "nothing");
  again.wait(50);
  CHECK(again.receive() == "ok: a");
  CHECK(again.deliveries == 1);
}

TEST_CASE("what became of messages survives a restart", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 2}, "");
  s.send({"a", "b"});
  s.fail(2);
  s.receive();
  const TimeMs first = s.now.wall;
  s.nack(NackKind::kFailed, "no stock");
  DeadLetters again({.max_deliveries = 2}, "r");
  restart(s, again);
  CHECK(again.counts().dead == 1);
  CHECK(again.receive(2) == "ok: b");
  CHECK(again.last().deliveries == 2);
  CHECK(again.last().first_ms == first);
  CHECK(again.last().reason == "no stock");
  SECTION("what is dead and goes nowhere stays so, though the queue has a dead-letter queue now") {
    again.settle_down();
    CHECK(again.counts().dead == 1);
  }
}

TEST_CASE("a message on its way to another queue goes on after a restart", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a"});
  s.fail(1);
  DeadLetters again({.max_deliveries = 1});
  again.send({"gone"});  // so that its log ends behind what it finds
  again.receive();
  again.ack(again.receipts[0]);
  restart(s, again);
  CHECK(again.counts().dead == 1);
  again.lead_anew();
  again.settle_down();
  CHECK(again.counts({1}).bytes == 0);
  CHECK(again.receive_from({2}) == "ok: a");
}

TEST_CASE("what happened to a message comes with it", "[storage][dead-letter]") {
  DeadLetters s({});
  s.send({"a"});
  s.receive();
  const TimeMs first = s.now.wall;
  s.wait(100);
  s.nack(NackKind::kFailed, "no stock");
  s.receive();
  CHECK(s.last().deliveries == 2);
  CHECK(s.last().first_ms == first);
  CHECK(s.last().last_ms == first);
  CHECK(s.last().reason == "no stock");
  const TimeMs second = s.now.wall;
  s.wait(1000);  // the lease ends: no reason takes the place of the other
  s.receive();
  CHECK(s.last().deliveries == 3);
  CHECK(s.last().first_ms == first);
  CHECK(s.last().last_ms == second);
  CHECK(s.last().reason == "no stock");
}

TEST_CASE("a queue's retry policy delays what failed, by nack or by its lease's end", "[storage][dead-letter]") {
  DeadLetters s({.backoff = Backoff::kExponential, .delay_ms = {100}});
  s.send({"a"});
  s.fail(1);
  s.wait(99);
  CHECK(s.receive() == "nothing");
  s.wait(1);
  CHECK(s.receive(1, 0, 500) == "ok: a");
  s.wait(500);
  s.wait(199);
  CHECK(s.receive() == "nothing");
  s.wait(1);
  CHECK(s.receive() == "ok: a");
  SECTION("a nack's own delay goes before it") {
    s.nack(NackKind::kFailed, {}, DurationMs{0});
    CHECK(s.receive() == "ok: a");
  }
}

TEST_CASE("after its last delivery a message is dead, and stays in its queue without a dead-letter queue",
          "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 2}, "");
  s.send({"a", "b"});
  const std::string how = GENERATE(as<std::string>{}, "two nacks", "a nack and the end of a lease", "a fatal nack");
  INFO(how);
  if (how != "a fatal nack") s.fail(1);
  s.receive();
  if (how == "two nacks") s.nack(NackKind::kFailed, "no such article");
  if (how == "a fatal nack") s.nack(NackKind::kFatal, "no such article");
  s.wait(1000);
  const std::string& reason = s.service.partition({0}).find_queue({1})->returned({1})->reason;
  CHECK(reason == (how == "a nack and the end of a lease" ? "" : "no such article"));
  CHECK(s.counts().dead == 1);
  CHECK(s.receive(2) == "ok: b");
  s.settle_down();
  CHECK(s.records.bytes.size() == 2);
  s.ack(s.receipts[0]);
  SECTION("and is ready again when it is redriven, as if it were new") {
    CHECK(s.redrive({1}) == "ok: a map");
    CHECK(s.counts().dead == 0);
    CHECK(s.receive() == "ok: a");
    CHECK(s.deliveries == 1);
  }
}

TEST_CASE("a dead message goes to the dead-letter queue, and says where it comes from", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send_one("a", {.priority = 3, .ttl_ms = DurationMs{100'000}});
  s.receive();
  const TimeMs given = s.now.wall;
  const std::string id(s.last().id);
  SECTION("too many deliveries") { s.nack(NackKind::kFailed, "no stock"); }
  SECTION("rejected") { s.nack(NackKind::kFatal, "no stock"); }
  s.settle_down();
  CHECK(s.counts().dead == 0);
  CHECK(s.counts({1}).bytes == 0);
  CHECK(s.counts({2}).ready == 1);
  CHECK(s.records.bytes.size() == 1);
  CHECK(s.receive_from({2}) == "ok: a");
  const Delivery& dead = s.last();
  CHECK(dead.id == id);
  CHECK(dead.deliveries == 1);
  CHECK(dead.priority == 3);
  CHECK(dead.expires_ms.value == 0);
  REQUIRE(dead.attributes.origin);
  CHECK(dead.attributes.origin->queue == "q");
  CHECK(dead.attributes.origin->reason == "no stock");
  CHECK(dead.attributes.origin->deliveries == 1);
  CHECK(dead.attributes.origin->first_ms == given);
}

TEST_CASE("an expired message goes to the dead-letter queue", "[storage][dead-letter]") {
  DeadLetters s({});
  s.send_one("a", {.ttl_ms = DurationMs{50}});
  s.wait(50);
  s.settle_down();
  CHECK(s.counts({1}).bytes == 0);
  CHECK(s.receive_from({2}) == "ok: a");
  CHECK(s.last().attributes.origin->cause == "expired");
  CHECK(s.last().attributes.origin->deliveries == 0);
}

TEST_CASE("a dead message is in one queue, whatever cannot be written on its way", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a", "b"});
  s.fail(1);
  const int failing = GENERATE(0, 1, 2, 3, 4);
  for (int i = 0; i < 5; ++i) {
    s.gathering = true;
    s.wait(i == failing + 1 ? 2000 : 0);  // what was lost is sent again
    i == failing ? s.fail_commit() : s.commit();
  }
  s.gathering = false;
  s.wait(2000);
  s.settle_down();
  CHECK(s.counts({1}).dead == 0);
  CHECK(s.counts({1}).ready == 1);
  CHECK(s.counts({2}).ready == 1);
  CHECK(s.receive_from({2}) == "ok: a");
}

TEST_CASE("a transfer that comes twice is taken once", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a", "b"});
  s.fail(2);
  const ReturnState state = *s.service.partition({0}).find_queue({1})->returned({1});
  std::string records;
  ship_record(records, {{1}, encode_return_state(state), s.records.bytes.at({{0}, {1}})});
  PeerMessage message = s.service.partition({0}).replica().message(TransferRecords{{0}, {1}, "q", {2}});
  for (int i = 0; i < 3; ++i) {
    s.service.handle_peer(message, records, s.now, s.turn, s.outbox);
    s.commit();
  }
  s.settle_down();
  CHECK(s.counts({2}).ready == 2);
  CHECK(s.counts({1}).bytes == 0);
  SECTION("also one with a lower mark") {
    s.service.handle_peer(message, records, s.now, s.turn, s.outbox);
    s.commit();
    s.settle_down();
    CHECK(s.counts({2}).ready == 2);
  }
  SECTION("and none that is damaged") {
    records.back() ^= 1;
    CHECK_FALSE(s.service.handle_peer(message, records, s.now, s.turn, s.outbox));
  }
}

TEST_CASE("a dead-letter queue that takes nothing gets its messages later", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  QueueSettings settings;
  settings.pause_send = true;
  s.set(settings, {2});
  s.send({"a"});
  s.fail(1);
  s.settle_down();
  CHECK(s.counts({1}).dead == 1);
  s.set({}, {2});
  s.wait(1000);
  s.settle_down();
  CHECK(s.counts({1}).dead == 0);
  CHECK(s.receive_from({2}) == "ok: a");
}

TEST_CASE("messages whose dead-letter queue is deleted stay, dead", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a", "b"});
  s.gathering = true;
  s.receive();
  s.nack(NackKind::kFailed);
  s.gathering = false;
  s.change(QueueDeleted{{2}, "r"});
  s.wait(1000);
  s.settle_down();
  CHECK(s.counts({1}).dead == 1);
  s.fail(1);
  CHECK(s.counts({1}).dead == 2);
  s.redrive({1});
  CHECK(s.receive(2) == "ok: a b");
}

TEST_CASE("redrive takes messages back to where they came from", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a", "b", "c"});
  s.receive();
  const std::string id(s.last().id);
  s.nack(NackKind::kFailed);
  s.fail(2);
  s.settle_down();
  s.send_one("own", {});
  CHECK(s.counts({2}).ready == 3);
  SECTION("all") {
    CHECK(s.redrive({2}) == "ok: a map");
    CHECK(s.counts({2}).dead == 3);  // until they are there
    s.settle_down();
    CHECK(s.counts({2}).bytes == 0);
    CHECK(s.receive(4) == "ok: own a b c");
    CHECK_FALSE(s.last().attributes.origin);
  }
  SECTION("some") {
    CHECK(s.redrive({2}, {id}) == "ok: a map");
    s.settle_down();
    CHECK(s.counts({2}).ready == 2);
    CHECK(s.receive(4) == "ok: own a");
    CHECK(s.last().id == id);
    CHECK(s.last().deliveries == 1);
  }
  SECTION("not when that could not be written") {
    s.gathering = true;
    s.redrive({2});
    s.fail_commit();
    CHECK(s.taken() == "insufficient_storage");
    s.gathering = false;
    CHECK(s.counts({2}).ready == 3);
    CHECK(s.receive_from({2}) == "ok: a b c");
  }
  SECTION("and not while they are leased") {
    s.receive_from({2});
    s.redrive({2});
    CHECK(s.counts({2}).leased == 3);
  }
}

TEST_CASE("what was to go back to a queue that is deleted is ready where it is", "[storage][dead-letter]") {
  DeadLetters s({.max_deliveries = 1});
  s.send({"a"});
  s.fail(1);
  s.settle_down();
  s.gathering = true;
  s.redrive({2});
  s.gathering = false;
  s.change(QueueDeleted{{1}, "q"});
  s.wait(1000);
  s.settle_down();
  CHECK(s.counts({2}).dead == 0);
  CHECK(s.receive_from({2}) == "ok: a");
  CHECK(s.last().attributes.origin->queue == "q");
}

TEST_CASE("marks grow along the log, whoever leads", "[storage][dead-letter]") {
  CHECK(move_mark({1}, {7}) < move_mark({1}, {8}));
  CHECK(move_mark({1}, {(std::uint64_t{1} << 44) - 1}) < move_mark({2}, {1}));
  CHECK(move_mark({(1u << 20) - 1}, {1}) > move_mark({(1u << 20) - 2}, {1}));
}

TEST_CASE("what a request of redrive or nack has wrong is told", "[storage][dead-letter]") {
  DeadLetters s({});
  RequestHeader header;
  header.op = Op::kQueueRedrive;
  header.after = "7-1";
  CHECK(s.request(header, {}) == "invalid_argument");
  header.after = "no id";
  CHECK(s.request(header, {}) == "invalid_argument");
  header.after = "0-1";
  CHECK(s.request(header, {}) == "ok: a map");
  header = {};
  header.op = Op::kNack;
  header.reason = std::string_view("a\nb");
  CHECK(s.request(header, encode_receipts(std::vector<std::string>{"0.1.1.1"})) == "invalid_argument");
  const std::string fatal_later =
      "\x85\xa1v\x01\xa2op\xa4nack\xa5queue\xa1q\xa4kind\xa5"
      "fatal\xa8"
      "delay_ms\x05";
  CHECK(s.raw(fatal_later, encode_receipts(std::vector<std::string>{"0.1.1.1"})) == "invalid_argument");
  const std::string what = "\x84\xa1v\x01\xa2op\xa4nack\xa5queue\xa1q\xa4kind\xa5later";
  CHECK(s.raw(what, encode_receipts(std::vector<std::string>{"0.1.1.1"})) == "invalid_argument");
}

}  // namespace dmq
