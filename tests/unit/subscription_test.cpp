// Subscriptions: messages without asking, as far as the credit goes, in turn with others who wait.
#include <catch2/catch.hpp>

#include "protocol/limits.hpp"
#include "storage/receivers.hpp"
#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

struct Subscribed : ServiceScript {
  using ServiceScript::ServiceScript;
  std::string subscribe(std::string_view name, std::uint64_t credit, std::uint64_t credit_bytes = 0,
                        std::string_view consumer = {}) {
    return request(about(Op::kSubscribe, name, credit, credit_bytes, consumer), {});
  }
  std::string unsubscribe(std::string_view name) { return request(about(Op::kUnsubscribe, name, {}, 0, {}), {}); }
  // The reply that came last went to nobody.
  void lose(std::string_view router = "router") {
    Envelope envelope;
    envelope.kind = EnvelopeKind::kUndeliverable;
    envelope.queue = {1};
    service.undeliverable(router, envelope, last_payload, now, outbox);
  }

 private:
  static RequestHeader about(Op op, std::string_view name, std::optional<std::uint64_t> credit, std::uint64_t bytes,
                             std::string_view consumer) {
    RequestHeader header;
    header.op = op;
    header.subscription = name;
    header.credit = credit;
    header.credit_bytes = bytes;
    header.consumer = consumer;
    if (op == Op::kSubscribe) header.lease_ms = DurationMs{1000};
    if (op == Op::kSubscribe) header.wait_ms = DurationMs{5000};
    return header;
  }
};

}  // namespace

TEST_CASE("messages come to a subscription as far as its credit goes", "[storage][push]") {
  Subscribed s;
  s.send({"a", "b", "c"});
  CHECK(s.subscribe("s", 2) == "ok+: a b");
  const auto held = s.receipts;
  CHECK(s.send({"d"}) == "ok: 0-4");
  SECTION("an ack is a credit") {
    CHECK(s.ack(held[1]) == "ok: ok; ok+: c");
    CHECK(s.ack(held[0]) == "ok: ok; ok+: d");
    CHECK(s.deliveries == 1);
  }
  SECTION("so is a nack, and the message comes again") {
    CHECK(s.settle(Op::kNack, {held[0]}) == "ok: ok; ok+: a");
    CHECK(s.deliveries == 2);
  }
  SECTION("so is a lease's end") {
    CHECK(s.wait(999).empty());
    CHECK(s.wait(1) == "ok+: a b");
    CHECK(s.deliveries == 2);
  }
  SECTION("it may be changed") {
    CHECK(s.subscribe("s", 3) == "nothing; ok+: c");
    CHECK(s.subscribe("s", 0) == "nothing; nothing+");
    CHECK(s.ack(held[0]) == "ok: ok");
    CHECK(s.subscribe("s", 3) == "nothing; ok+: d");
  }
  SECTION("others get what it may not have") { CHECK(s.receive(5) == "ok: c d"); }
}

TEST_CASE("a subscription has a credit of bytes, of which the last message may take more", "[storage][push]") {
  Subscribed s;
  const std::string large(500, 'x');
  s.send({large, large, large});
  const std::string one = "ok+: xxxxxxxxxxxxxxxxxxxx";
  CHECK(s.subscribe("s", 10, 600) == one + "; " + one);
  const std::string last = s.receipts.front();
  CHECK(s.wait(10).empty());
  CHECK(s.ack(last) == "ok: ok; " + one);
}

TEST_CASE("subscriptions and receives take turns", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 100) == "nothing+");
  CHECK(s.subscribe("t", 100) == "nothing+");
  CHECK(s.send({"a"}) == "ok: 0-1; ok+: a");
  CHECK(s.receive(1, 4000).empty());
  CHECK(s.send({"b"}) == "ok: 0-2; ok+: b");  // t's turn
  CHECK(s.unsubscribe("s") == "nothing; ok");
  CHECK(s.send({"c"}) == "ok: 0-3; ok: c");  // the receive's
  CHECK(s.send({"d"}) == "ok: 0-4; ok+: d");
  CHECK(s.unsubscribe("t") == "nothing; ok");
  CHECK(s.send({"e"}) == "ok: 0-5");
}

TEST_CASE("a backlog is shared by subscriptions", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 300) == "nothing+");
  CHECK(s.subscribe("t", 300) == "nothing+");
  QueueSettings paused;
  paused.pause_receive = true;
  s.set(paused);
  for (int i = 0; i < 6; ++i) s.send(std::vector<std::string>(100, "m"));
  s.taken();
  s.gathering = true;
  s.set({});
  std::vector<std::size_t> counts;
  for (const Reply& reply : std::exchange(s.outbox.replies, {})) {
    MsgpackReader reader;
    std::vector<Delivery> messages;
    REQUIRE(decode_deliveries(reply.payload, reader, messages));
    counts.push_back(messages.size());
    CHECK(std::get<std::uint64_t>(decode_reply_header(reply.header, reader)->id) == 1 + (counts.size() - 1) % 2);
  }
  CHECK(counts == std::vector<std::size_t>(6, 100));
}

TEST_CASE("a subscription ends when it is not repeated in time", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 1) == "nothing+");
  CHECK(s.wait(4000).empty());
  CHECK(s.subscribe("s", 1) == "nothing; nothing+");  // the first request has its last reply
  CHECK(s.wait(4999).empty());
  CHECK(s.wait(1) == "nothing");
  CHECK(s.send({"a"}) == "ok: 0-1");
}

TEST_CASE("a subscription ends when its client is gone", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 5) == "nothing+");
  CHECK(s.send({"a"}) == "ok: 0-1; ok+: a");
  SECTION("and what it did not get is ready") {
    s.lose();
    CHECK(s.taken().empty());
    CHECK(s.receive() == "ok: a");
    CHECK(s.deliveries == 1);
    CHECK(s.send({"b"}) == "ok: 0-2");
  }
  SECTION("but not for another router's client of the same name") {
    s.lose("another");
    CHECK(s.taken() == "ok+: a");
  }
}

TEST_CASE("a subscription ends with its queue, its leader and its worker", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 1) == "nothing+");
  SECTION("queue") {
    s.change(QueueDeleted{{1}, "q"});
    CHECK(s.taken() == "no_such_queue");
  }
  SECTION("worker") {
    s.service.end_receivers(s.outbox);
    CHECK(s.taken() == "nothing");
  }
  SECTION("leader") {
    PartitionInfo info = *s.catalog.find_partition({0});
    info.epoch = {2};
    ++info.version.value;
    info.leader = "other";
    info.leader_session = {8};
    info.replicas = info.in_sync = {"w", "other"};
    s.change(info);
    CHECK(s.taken() == "nothing");
  }
}

TEST_CASE("a message with an ordering key is pushed when its lease is committed", "[storage][push]") {
  Subscribed s;
  CHECK(s.subscribe("s", 5) == "nothing+");
  CHECK(s.send_with_key("a") == "ok: 0-1");
  s.commit();  // of the lease
  CHECK(s.taken() == "ok+: a");
  CHECK(s.confirmed == Confirmation::kInSync);
  const std::string receipt = s.receipts.front();
  CHECK(s.send_with_key("b") == "ok: 0-3");
  s.commit();
  CHECK(s.taken().empty());
  CHECK(s.ack(receipt) == "ok: ok");
  s.commit();
  CHECK(s.taken() == "ok+: b");
}

TEST_CASE("what a consumer may hold bounds its subscription, and others are served", "[storage][push]") {
  Subscribed s;
  QueueSettings settings;
  settings.limits.leased_by_one = 1;
  s.set(settings);
  CHECK(s.subscribe("s", 5, 0, "x") == "nothing+");
  CHECK(s.subscribe("t", 5, 0, "y") == "nothing+");
  CHECK(s.send({"a", "b", "c"}) == "ok: 0-1 0-2 0-3; ok+: a; ok+: b");
  CHECK(s.ack(s.receipts.front()) == "ok: ok; ok+: c");
}

TEST_CASE("receives and subscriptions that wait are bounded together", "[storage][push]") {
  ServiceLimits limits;
  limits.receivers_max = 1;
  Subscribed s(limits);
  CHECK(s.subscribe("s", 1) == "nothing+");
  CHECK(s.subscribe("s", 1) == "nothing; nothing+");
  CHECK(s.subscribe("t", 1) == "unavailable");
  CHECK(s.receive(1, 100) == "unavailable");
  CHECK(s.unsubscribe("s") == "nothing; ok");
  CHECK(s.subscribe("t", 1) == "nothing+");
}

TEST_CASE("what a subscribe must say", "[protocol][header]") {
  RequestHeader header;
  header.op = Op::kSubscribe;
  header.queue = "q";
  MsgpackReader reader;
  RequestHeader out;
  const auto code = [&] {
    const auto decoded = decode_request_header(encode_request_header(header), reader, out);
    return decoded ? Errc::kOk : decoded.error().code;
  };
  CHECK(code() == Errc::kInvalidArgument);
  header.subscription = "s";
  CHECK(code() == Errc::kOk);
  CHECK_FALSE(out.credit.has_value());
  for (const std::string& bad : {std::string(65, 's'), std::string("s\n")}) {
    header.subscription = bad;
    CHECK(code() == Errc::kInvalidArgument);
  }
  header.subscription = "s";
  header.credit = 0;
  CHECK(code() == Errc::kOk);
  CHECK(out.credit == std::uint64_t{0});
  header.credit = kCreditMax + 1;
  CHECK(code() == Errc::kInvalidArgument);
  header.credit = kCreditMax;
  header.credit_bytes = kCreditBytesMax + 1;
  CHECK(code() == Errc::kInvalidArgument);
  header.credit_bytes = kCreditBytesMax;
  header.wait_ms = DurationMs{kSubscriptionMsMin - 1};
  CHECK(code() == Errc::kInvalidArgument);
  header.wait_ms = DurationMs{kSubscriptionMsMin};
  CHECK(code() == Errc::kOk);
  header.ack_on_delivery = true;
  CHECK(code() == Errc::kInvalidArgument);
}

TEST_CASE("who wait stand in a line for each queue", "[storage][push]") {
  Receivers receivers;
  const QueuePlace q{{0}, {1}};
  const QueuePlace r{{1}, {2}};
  const auto add = [&](const QueuePlace& place, std::string name, std::int64_t until) {
    Receiver receiver;
    receiver.name = std::move(name);
    receiver.until = {until};
    receivers.add(place, std::move(receiver));
  };
  add(q, "a", 30);
  add(q, "b", 10);
  add(r, "c", 20);
  const auto named = [](const std::string& name) { return [name](const Receiver& each) { return each.name == name; }; };
  CHECK(receivers.size() == 3);
  CHECK(receivers.next_deadline() == TimeMs{10});
  CHECK(receivers.waiting(q) == 2);
  CHECK(receivers.queues_of({0}) == std::vector<QueuePlace>{q});
  Receivers::Line* line = receivers.line(q);
  auto next = receivers.to_back(q, line->begin());
  CHECK(next->second.name == "b");
  next = receivers.to_back(q, next);
  CHECK(next->second.name == "a");
  next = receivers.remove(q, next);
  CHECK(next->second.name == "b");
  next = receivers.to_back(q, next);  // alone, it is the next one itself
  CHECK(next->second.name == "b");
  CHECK(receivers.next_deadline() == TimeMs{10});
  REQUIRE(receivers.take_ended({10}).size() == 1);
  CHECK(receivers.line(q) == nullptr);
  CHECK_FALSE(receivers.take(q, named("a")));
  CHECK_FALSE(receivers.take(r, named("a")));
  CHECK(receivers.take(r, named("c")));
  CHECK(receivers.size() == 0);
  CHECK_FALSE(receivers.next_deadline());
}

}  // namespace dmq
