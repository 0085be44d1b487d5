// What is counted of a queue, and how it is told.
#include "protocol/queue_stats.hpp"

#include <catch2/catch.hpp>

#include "protocol/msgpack_reader.hpp"
#include "service_script.hpp"
#include "storage/queue_meter.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kLimits{.array_items = 10, .map_keys = 20, .string_bytes = 100, .binary_bytes = 100};

TimeMs at(std::int64_t ms) { return {1'000'000 + ms}; }

struct StatsScript : ServiceScript {
  using ServiceScript::ServiceScript;
  void ask() {
    RequestHeader header;
    header.op = Op::kQueueStats;
    REQUIRE(request(header, {}) == "ok: a map");
    REQUIRE(reader.read(last_payload, kLimits));
  }
  // A number of the last answer, 0 when it is absent; `of`: in the map of that name.
  std::uint64_t number(std::string_view key, std::string_view of = {}) {
    const auto object = reader.read(last_payload, kLimits);
    const msgpack::object* map = of.empty() ? &*object : find_key(*object, of);
    const msgpack::object* value = find_key(*map, key);
    return value == nullptr ? 0 : *as_number(*value);
  }
  std::string totals() {
    ask();
    std::string out;
    for (const std::string_view name : kTrafficNames) out += " " + std::to_string(number(name, "totals"));
    return out.substr(1);
  }
  MsgpackReader reader;
};

}  // namespace

TEST_CASE("a meter knows the last ten seconds and the one that runs", "[storage][stats]") {
  QueueMeter meter;
  const auto sent = [&](std::int64_t ms) { return meter.recent(at(ms))[0]; };
  CHECK(sent(0) == 0);
  meter.count(Traffic::kSent, 3, at(0));
  meter.count(Traffic::kSent, 2, at(999));
  meter.count(Traffic::kAcked, 7, at(999));
  CHECK(sent(999) == 5);
  CHECK(sent(10'999) == 5);
  CHECK(sent(11'000) == 0);
  meter.count(Traffic::kSent, 1, at(11'000));  // in the place of the first second
  CHECK(sent(11'000) == 1);
  CHECK(sent(500'000) == 0);
  CHECK(meter.totals() == TrafficCounts{6, 0, 7, 0, 0});
  CHECK(QueueMeter::window(at(11'250)) == DurationMs{10'250});
}

TEST_CASE("what goes through a queue is counted when it is confirmed", "[storage][stats]") {
  StatsScript s;
  CHECK(s.totals() == "0 0 0 0 0");
  s.gathering = true;
  s.send({"a", "b", "c"});
  CHECK(s.totals() == "0 0 0 0 0");
  s.fail_commit();
  s.taken();
  CHECK(s.totals() == "0 0 0 0 0");
  s.gathering = false;
  s.wait(1000);
  s.send({"a", "b", "c"}, "p", 1);
  s.send({"b", "c", "d"}, "p", 2);  // one of them is new
  CHECK(s.totals() == "4 0 0 0 0");
  s.receive(3, 0, 1000);
  s.ack(s.receipts[0]);
  s.ack(s.receipts[0]);  // stale
  s.settle(Op::kNack, {s.receipts[1]});
  CHECK(s.totals() == "4 3 1 1 0");
  s.wait(1000);  // a lease ends
  CHECK(s.totals() == "4 3 1 2 0");
  s.send_one("e", {.ttl_ms = DurationMs{10}});
  s.wait(10);
  CHECK(s.totals() == "5 3 1 2 1");
  CHECK(s.number("sent", "recent") == 5);
  s.wait(20'000);
  CHECK(s.totals() == "5 3 1 2 1");
  CHECK(s.number("sent", "recent") == 0);
}

TEST_CASE("statistics tell what is there, how old it is, and of which time the counts are", "[storage][stats]") {
  StatsScript s;
  s.ask();
  CHECK(s.number("oldest_ms") == 0);
  CHECK(s.number("since_ms", "totals") == s.number("at_ms"));
  const std::int64_t first = s.now.wall.value;
  s.send_one("delayed", {.delay_ms = DurationMs{60'000}});
  s.wait(5000);
  s.send({"a", "b"});
  s.wait(100);
  s.send_one("urgent", {.priority = 9});
  s.wait(2000);
  s.ask();
  CHECK(s.number("ready") == 3);
  CHECK(s.number("delayed") == 1);
  CHECK(s.number("bytes") == s.counts().bytes);
  CHECK(s.number("oldest_ms") == static_cast<std::uint64_t>(first + 5000));
  CHECK(s.number("at_ms") == static_cast<std::uint64_t>(first + 7100));
  CHECK(s.number("since_ms", "totals") == static_cast<std::uint64_t>(first));
  CHECK(s.number("window_ms", "recent") == 7100);
  s.receive(3);
  CHECK(s.receive(1, 5000).empty());
  s.ask();
  CHECK(s.number("oldest_ms") == 0);
  CHECK(s.number("leased") == 3);
  CHECK(s.number("waiting") == 1);
  s.wait(60'000);
  s.ask();
  CHECK(s.number("window_ms", "recent") >= 10'000);
  CHECK(s.number("window_ms", "recent") < 11'000);
}

TEST_CASE("a purge leaves a queue's counts, a deletion does not", "[storage][stats]") {
  StatsScript s;
  s.send({"a"});
  RequestHeader header;
  header.op = Op::kQueuePurge;
  s.request(header, {});
  CHECK(s.totals() == "1 0 0 0 0");
  s.change(QueueDeleted{{1}, "q"});
  header.op = Op::kQueueStats;
  CHECK(s.request(header, {}) == "hand back");
}

}  // namespace dmq
