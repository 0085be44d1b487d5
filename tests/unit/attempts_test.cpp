// Attempt ids of receives: a repeat gets what the first one got, as long as its leases last.
#include "storage/attempts.hpp"

#include <catch2/catch.hpp>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

struct Attempting : ServiceScript {
  std::string get(std::string_view attempt, std::uint64_t max = 2, std::int64_t wait_ms = 0) {
    RequestHeader header;
    header.op = Op::kReceive;
    header.max = max;
    header.wait_ms = DurationMs{wait_ms};
    header.lease_ms = DurationMs{1000};
    header.attempt = attempt;
    return request(header, {});
  }
};

}  // namespace

TEST_CASE("a receive that is repeated with its attempt id gets the same messages", "[storage][attempts]") {
  Attempting s;
  s.send({"a", "b", "c", "d"});
  CHECK(s.get("x") == "ok: a b");
  const auto receipts = s.receipts;
  CHECK(s.get("x") == "ok: a b");
  CHECK(s.receipts == receipts);
  CHECK(s.deliveries == 1);
  CHECK(s.get("y") == "ok: c d");
  SECTION("without those that are settled") {
    s.ack(receipts[0]);
    CHECK(s.get("x") == "ok: b");
    s.ack(receipts[1]);
    CHECK(s.get("x") == "nothing");
  }
  SECTION("as long as the leases last") {
    s.wait(999);
    CHECK(s.get("x") == "ok: a b");
    s.wait(1);
    CHECK(s.get("x") == "ok: a b");
    CHECK(s.deliveries == 2);
    CHECK(s.receipts != receipts);
  }
  SECTION("not in another queue") {
    RequestHeader header;
    header.op = Op::kReceive;
    header.attempt = "x";
    CHECK(s.request(header, {}, {2}) == "nothing");
  }
  SECTION("and while one of two replies may have arrived, the other gives nothing back") {
    Envelope undeliverable;
    undeliverable.kind = EnvelopeKind::kUndeliverable;
    undeliverable.queue = {1};
    s.get("x");  // once more
    s.service.undeliverable("router", undeliverable, s.last_payload, s.now, s.outbox);
    CHECK(s.get("z") == "nothing");
    s.wait(1000);
    CHECK(s.get("z") == "ok: a b");
    CHECK(s.deliveries == 2);
  }
  SECTION("not when its reply reached nobody") {
    Envelope undeliverable;
    undeliverable.kind = EnvelopeKind::kUndeliverable;
    undeliverable.queue = {1};
    s.service.undeliverable("router", undeliverable, s.last_payload, s.now, s.outbox);  // that of "y"
    CHECK(s.get("z") == "ok: c d");
    CHECK(s.deliveries == 1);
    CHECK(s.get("y") == "nothing");
  }
}

TEST_CASE("a receive that waits ends when it is repeated with its attempt id", "[storage][attempts]") {
  Attempting s;
  CHECK(s.get("x", 1, 5000).empty());
  CHECK(s.get("other", 1, 5000).empty());
  CHECK(s.get("x", 1, 5000) == "nothing");
  CHECK(s.send({"a", "b"}) == "ok: 0-1 0-2; ok: a; ok: b");
  CHECK(s.get("x") == "ok: b");
}

TEST_CASE("with an ordering key a repeated attempt is answered once the lease is committed", "[storage][attempts]") {
  Attempting s;
  s.send_with_key("a");
  s.gathering = true;
  CHECK(s.get("x").empty());
  CHECK(s.get("x") == "unavailable");
  s.commit();
  CHECK(s.taken() == "ok: a");
  CHECK(s.get("x") == "ok: a");
}

TEST_CASE("an attempt and an ack on delivery exclude each other", "[protocol][header]") {
  RequestHeader header;
  header.op = Op::kReceive;
  header.queue = "q";
  header.attempt = "x";
  header.ack_on_delivery = true;
  MsgpackReader reader;
  RequestHeader out;
  CHECK(decode_request_header(encode_request_header(header), reader, out).error().code == Errc::kInvalidArgument);
  header.ack_on_delivery = false;
  const std::string bytes = encode_request_header(header);
  REQUIRE(decode_request_header(bytes, reader, out));
  CHECK(out.attempt == "x");
  for (const std::string& bad : {std::string(65, 'x'), std::string("a\n")}) {
    header.attempt = bad;
    CHECK_FALSE(decode_request_header(encode_request_header(header), reader, out));
  }
}

TEST_CASE("attempts are bounded, and the one that ends first goes", "[storage][attempts]") {
  Attempts attempts;
  const QueuePlace queue{{0}, {1}};
  const auto end = [](std::size_t i) { return TimeMs{static_cast<std::int64_t>(1000 + i)}; };
  for (std::size_t i = 0; i <= kAttemptsMax; ++i) attempts.put(queue, std::to_string(i), {{{i}, {}}}, end(i));
  CHECK(attempts.size() == kAttemptsMax);
  CHECK(attempts.find(queue, "0", {0}) == nullptr);
  REQUIRE(attempts.find(queue, "1", {0}) != nullptr);
  attempts.put(queue, "1", {{{7}, {}}}, end(2 * kAttemptsMax));  // anew
  CHECK(attempts.find(queue, "1", end(kAttemptsMax))->front().lsn == Lsn{7});
  CHECK(attempts.size() == 1);
}

}  // namespace dmq
