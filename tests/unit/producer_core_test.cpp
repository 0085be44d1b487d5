// The sending half of a client: coalescing, the window, repeats in order, and producers that are given up.
#include "clients/cpp/producer_core.hpp"

#include <catch2/catch.hpp>

#include "protocol/msgpack_reader.hpp"

using namespace dmq;

namespace {

// Drives a core and keeps what it put on the wire, with names short enough to read.
struct Script {
  explicit Script(ProducerLimits limits = {}) : core("me", limits) {}

  void add(const std::string& body, const std::string& queue = "q", bool more = false, bool by_id = false) {
    core.add(
        {queue, body, {}, by_id},
        [this, body](const SendResult& result) { told += body + "=" + (result ? "ok" : result.failure->code) + " "; },
        more, TimeMs{now});
    core.check_invariants();
  }
  // Everything that leaves now, as "id:producer/sequence(bodies)".
  std::string leaves() {
    std::string out;
    while (const auto request = core.next_request(next_id, TimeMs{now})) {
      core.check_invariants();
      MsgpackReader reader;
      std::vector<SendItem> items;
      REQUIRE(decode_send(*request->payload, reader, items));
      out += std::to_string(request->id) + ":" + std::string(request->producer) + "/" +
             std::to_string(request->sequence.value) + "(";
      for (const SendItem& item : items) out += std::string(item.body);
      out += ") ";
    }
    return out;
  }
  bool answer(std::uint64_t id, Errc code = Errc::kOk) {
    const bool known = core.on_reply(id, Error{code, {}}, is_retryable(code), TimeMs{now}, outcomes);
    settle();
    return known;
  }
  void at(std::int64_t time) {
    now = time;
    core.on_time(TimeMs{now}, outcomes);
    settle();
  }
  std::string results() { return std::exchange(told, {}); }

  ProducerCore core;
  std::uint64_t next_id = 1;
  std::int64_t now = 0;
  std::vector<BatchOutcome> outcomes;
  std::string told;

 private:
  void settle() {
    core.check_invariants();
    for (BatchOutcome& outcome : outcomes) {
      for (const SendCallback& callback : outcome.callbacks) callback(SendResult{{}, false, outcome.failure});
    }
    outcomes.clear();
  }
};

ProducerLimits window_of(std::size_t window) {
  ProducerLimits limits;
  limits.window = window;
  return limits;
}

}  // namespace

TEST_CASE("a message leaves alone when nothing is under way, later ones with the next reply", "[client]") {
  Script s;
  s.add("a");
  CHECK(s.leaves() == "1:me.1/1(a) ");
  s.add("b");
  s.add("c");
  CHECK(s.leaves().empty());
  CHECK(s.answer(1));
  CHECK(s.results() == "a=ok ");
  CHECK(s.leaves() == "2:me.1/2(bc) ");
}

TEST_CASE("half a window leaves without waiting for a reply", "[client]") {
  Script s(window_of(4));
  for (const char* body : {"a", "b", "c", "d"}) s.add(body);
  CHECK(s.leaves() == "1:me.1/1(a) 2:me.1/2(bc) ");
  CHECK_FALSE(s.core.has_room(1));
  s.answer(1);
  CHECK(s.core.has_room(1));
  CHECK(s.leaves() == "3:me.1/4(d) ");
}

TEST_CASE("a message with more to follow waits for it, until the input ends", "[client]") {
  Script s;
  s.add("a", "q", true);
  s.add("b", "q", true);
  CHECK(s.leaves().empty());
  s.core.end_of_input();
  CHECK(s.leaves() == "1:me.1/1(ab) ");
}

TEST_CASE("a batch stays under its limit of bytes", "[client]") {
  ProducerLimits limits;
  limits.batch_bytes = 20;
  Script s(limits);
  s.add("aaaaaaaaaa", "q", true);
  s.add("bbbbbbbbbb", "q", true);
  s.core.end_of_input();
  CHECK(s.leaves() == "1:me.1/1(aaaaaaaaaa) ");
  s.answer(1);
  CHECK(s.leaves() == "2:me.1/2(bbbbbbbbbb) ");
}

TEST_CASE("the window counts bytes, and one message of any size has room in an idle core", "[client]") {
  ProducerLimits limits;
  limits.window_bytes = 10;
  Script s(limits);
  CHECK(s.core.has_room(1'000'000));
  s.add("aaaaaaaa");
  CHECK_FALSE(s.core.has_room(8));
  s.leaves();
  s.answer(1);
  CHECK(s.core.has_room(8));
}

TEST_CASE("each queue has its own producer and its own sequence", "[client]") {
  Script s;
  s.add("a", "q");
  s.add("b", "r");
  CHECK(s.leaves() == "1:me.1/1(a) 2:me.2/1(b) ");
}

TEST_CASE("after a lost link all that is unconfirmed goes out again, in order, with the same numbers", "[client]") {
  Script s(window_of(4));
  for (const char* body : {"a", "b", "c"}) s.add(body);
  CHECK(s.leaves() == "1:me.1/1(a) 2:me.1/2(bc) ");
  s.core.on_link_lost();
  CHECK(s.leaves() == "3:me.1/1(a) 4:me.1/2(bc) ");
  CHECK_FALSE(s.answer(1));  // the old try's answer means nothing any more
  CHECK(s.answer(3));
  CHECK(s.answer(4));
  CHECK(s.results() == "a=ok b=ok c=ok ");
  CHECK(s.core.idle());
}

TEST_CASE("a request that the link refused goes out later with the same number", "[client]") {
  Script s;
  s.add("a");
  CHECK(s.leaves() == "1:me.1/1(a) ");
  s.core.take_back();
  CHECK(s.leaves() == "2:me.1/1(a) ");
}

TEST_CASE("a retry asked for by the broker waits, and what follows it is repeated behind it", "[client]") {
  Script s(window_of(4));
  for (const char* body : {"a", "b", "c"}) s.add(body);
  s.leaves();
  s.answer(1, Errc::kInsufficientStorage);
  s.answer(2, Errc::kOutOfSequence);
  CHECK(s.leaves().empty());
  s.at(20);
  CHECK(s.leaves() == "3:me.1/1(a) 4:me.1/2(bc) ");
  s.answer(3);
  s.answer(4);
  CHECK(s.results() == "a=ok b=ok c=ok ");
}

TEST_CASE("behind a refused batch the certain ones go out under a new producer", "[client]") {
  Script s(window_of(4));
  for (const char* body : {"a", "b", "c"}) s.add(body);
  s.leaves();
  s.answer(1, Errc::kTooLarge);
  CHECK(s.results() == "a=too_large ");
  CHECK(s.leaves().empty());  // drains: the second batch may not be renumbered before its own answer
  s.answer(2, Errc::kOutOfSequence);
  CHECK(s.leaves() == "3:me.2/1(bc) ");
  s.answer(3);
  CHECK(s.results() == "b=ok c=ok ");
}

TEST_CASE("an uncertain batch that is out of sequence is never sent under another producer", "[client]") {
  Script s;
  s.add("a");
  s.leaves();
  s.core.on_link_lost();
  CHECK(s.leaves() == "2:me.1/1(a) ");
  s.answer(2, Errc::kOutOfSequence);
  CHECK(s.results() == "a=unconfirmed ");
  s.add("b");
  CHECK(s.leaves() == "3:me.2/1(b) ");
}

TEST_CASE("a broker that refuses every new producer does not get the batch for ever", "[client]") {
  Script s;
  s.add("a");
  for (std::uint64_t id = 1; id <= 4; ++id) {
    CHECK_FALSE(s.leaves().empty());
    s.answer(id, Errc::kOutOfSequence);
  }
  CHECK(s.results() == "a=out_of_sequence ");
  CHECK(s.core.idle());
}

TEST_CASE("unanswered for too long: the send is unconfirmed and its producer is abandoned", "[client]") {
  ProducerLimits limits;
  limits.retry_for = DurationMs{1000};
  Script s(limits);
  s.add("a");
  s.leaves();
  s.add("b");
  s.at(1000);
  CHECK(s.results() == "a=unconfirmed ");
  CHECK(s.leaves() == "2:me.2/1(b) ");
}

TEST_CASE("messages with a dedup id have a stream without a producer, also when they are repeated", "[client]") {
  Script s;
  s.add("a");
  s.add("b", "q", false, true);
  s.add("c", "q", false, true);
  CHECK(s.leaves() == "1:me.1/1(a) 2:/1(b) ");
  s.core.on_link_lost();
  CHECK(s.leaves() == "3:me.1/1(a) 4:/1(b) ");
  CHECK(s.answer(4, Errc::kTooLarge));
  CHECK(s.results() == "b=unconfirmed ");
  CHECK(s.leaves() == "5:/1(c) ");
}

TEST_CASE("unavailable for too long: the send is unconfirmed and says what the broker answered last", "[client]") {
  ProducerLimits limits;
  limits.retry_for = DurationMs{1000};
  Script s(limits);
  std::string text;
  s.core.add(
      {"q", "a", {}}, [&text](const SendResult& result) { text = result.failure->message; }, false, TimeMs{0});
  s.leaves();
  s.core.on_reply(1, Error{Errc::kUnavailable, "no metad yet"}, true, TimeMs{0}, s.outcomes);
  s.at(1000);
  CHECK(text.find("(no metad yet)") != std::string::npos);
}

TEST_CASE("never on the wire: the send fails as unreachable, not as unconfirmed", "[client]") {
  ProducerLimits limits;
  limits.retry_for = DurationMs{1000};
  Script s(limits);
  s.add("a");
  s.at(1000);
  CHECK(s.results() == "a=unreachable ");
}

TEST_CASE("a full store for too long: the send fails with that reason", "[client]") {
  ProducerLimits limits;
  limits.retry_for = DurationMs{1000};
  Script s(limits);
  s.add("a");
  s.leaves();
  s.answer(1, Errc::kInsufficientStorage);
  s.at(1000);
  CHECK(s.results() == "a=insufficient_storage ");
  s.add("b");
  CHECK(s.leaves() == "2:me.2/1(b) ");
}

TEST_CASE("gathered messages leave when the batch before them is given up", "[client]") {
  ProducerLimits limits;
  limits.retry_for = DurationMs{1000};
  Script s(limits);
  s.add("a");
  s.now = 500;
  s.add("b");
  s.at(1000);
  CHECK(s.results() == "a=unreachable ");
  s.at(1500);
  CHECK(s.results() == "b=unreachable ");
  CHECK(s.core.idle());
}

TEST_CASE("a request without an answer makes the core late", "[client]") {
  ProducerLimits limits;
  limits.request_timeout = DurationMs{100};
  Script s(limits);
  s.add("a");
  s.leaves();
  CHECK_FALSE(s.core.is_late(TimeMs{99}));
  CHECK(s.core.is_late(TimeMs{100}));
  CHECK(s.core.next_deadline() == TimeMs{100});
}

TEST_CASE("messages in different lanes are counted apart", "[client]") {
  Script s;
  const auto add = [&s](const char* body, std::uint8_t lane) {
    s.core.add({"q", body, {}, false, {}, lane}, {}, false, TimeMs{0});
    s.core.check_invariants();
  };
  add("a", 1);
  add("b", 2);
  add("c", 1);
  CHECK(s.leaves() == "1:me.1/1(a) 2:me.2/1(b) ");
  s.answer(1);
  CHECK(s.leaves() == "3:me.1/2(c) ");
}
