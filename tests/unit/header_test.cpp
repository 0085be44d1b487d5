// Request and reply headers: every key, every limit from both sides, every refusal.
#include "protocol/header.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "hex.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

using namespace dmq;
using dmq::test::from_hex;

namespace {

// Builds a header key by key, so that tests can say what no client should.
class HeaderText {
 public:
  HeaderText& text(std::string_view key, std::string_view value) {
    begin(key);
    Packer(pairs_).text(value);
    return *this;
  }
  HeaderText& number(std::string_view key, std::uint64_t value) {
    begin(key);
    Packer(pairs_).number(value);
    return *this;
  }
  HeaderText& raw(std::string_view key, std::string_view hex) {
    begin(key);
    Packer(pairs_).raw(from_hex(hex));
    return *this;
  }
  std::string bytes() const {
    std::string out;
    Packer(out).map(count_);
    return out + pairs_;
  }

 private:
  void begin(std::string_view key) {
    ++count_;
    Packer(pairs_).text(key);
  }
  std::string pairs_;
  std::size_t count_ = 0;
};

HeaderText request(std::string_view op) { return HeaderText().number("v", 1).text("op", op); }
HeaderText on_queue(std::string_view op) { return request(op).text("queue", "orders"); }

// "ok" or the code of the error.
std::string outcome(std::string_view bytes) {
  MsgpackReader reader;
  RequestHeader header;
  const auto result = decode_request_header(bytes, reader, header);
  return std::string(code_name(result ? Errc::kOk : result.error().code));
}
std::string outcome(const HeaderText& header) { return outcome(header.bytes()); }

const std::vector<std::string> kOps{"hello",  "ping",         "send",           "receive",    "ack",         "nack",
                                    "extend", "queue.create", "queue.describe", "queue.list", "queue.delete"};

}  // namespace

TEST_CASE("the operations are those of the protocol page", "[protocol][header]") {
  for (std::size_t i = 0; i < kOps.size(); ++i) {
    CHECK(op_name(static_cast<Op>(i)) == kOps[i]);
    MsgpackReader reader;
    RequestHeader header;
    const std::string bytes = on_queue(kOps[i]).bytes();
    REQUIRE(decode_request_header(bytes, reader, header));
    CHECK(header.op == static_cast<Op>(i));
  }
  for (const std::string_view op : {"", "Send", "sends", "sen", "queue.", "queue", "purge", "send\n"}) {
    INFO(op);
    CHECK(outcome(on_queue(op)) == "unknown_op");
  }
}

TEST_CASE("the error for an unknown operation is always a valid text", "[protocol][header]") {
  for (const std::string& op :
       {std::string("purge"), std::string("\xff\xfe"), std::string(39, 'a') + "\xc3\xa9", std::string(500, 'x')}) {
    MsgpackReader reader;
    RequestHeader header;
    const std::string bytes = request(op).bytes();
    const auto result = decode_request_header(bytes, reader, header);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Errc::kUnknownOp);
    CHECK(is_clean_utf8(result.error().context));
  }
}

TEST_CASE("a request header comes back from its bytes", "[protocol][header]") {
  RequestHeader sent;
  sent.op = Op::kSend;
  sent.id = std::uint64_t{7};
  sent.queue = "orders";
  sent.producer = "till-4";
  sent.sequence = {101};
  MsgpackReader reader;
  RequestHeader header;
  std::string bytes = encode_request_header(sent);
  REQUIRE(decode_request_header(bytes, reader, header));
  CHECK(header.op == Op::kSend);
  CHECK(std::get<std::uint64_t>(header.id) == 7);
  CHECK(header.queue == "orders");
  CHECK(header.producer == "till-4");
  CHECK(header.sequence == Sequence{101});

  RequestHeader receive;
  receive.op = Op::kReceive;
  receive.id = std::string("r-1");
  receive.queue = "orders";
  receive.max = 10;
  receive.max_bytes = 5000;
  receive.wait_ms = DurationMs{0};
  receive.lease_ms = DurationMs{60000};
  bytes = encode_request_header(receive);
  REQUIRE(decode_request_header(bytes, reader, header));
  CHECK(std::get<std::string>(header.id) == "r-1");
  CHECK(header.max == 10);
  CHECK(header.max_bytes == 5000);
  CHECK(header.wait_ms == DurationMs{0});
  CHECK(header.lease_ms == DurationMs{60000});
  CHECK(header.producer.empty());

  RequestHeader list;
  list.op = Op::kQueueList;
  list.max = 50;
  list.prefix = "or";
  list.after = "orders";
  bytes = encode_request_header(list);
  REQUIRE(decode_request_header(bytes, reader, header));
  CHECK(header.id.index() == 0);
  CHECK(header.queue.empty());
  CHECK(header.prefix == "or");
  CHECK(header.after == "orders");

  RequestHeader nack;
  nack.op = Op::kNack;
  nack.queue = "orders";
  nack.delay_ms = DurationMs{1500};
  bytes = encode_request_header(nack);
  REQUIRE(decode_request_header(bytes, reader, header));
  CHECK(header.delay_ms == DurationMs{1500});
}

TEST_CASE("the version must be 1", "[protocol][header]") {
  CHECK(outcome(HeaderText().text("op", "ping").number("v", 1)) == "ok");
  CHECK(outcome(HeaderText().text("op", "ping").raw("v", "d30000000000000001")) == "ok");
  CHECK(outcome(HeaderText().text("op", "ping")) == "unsupported_version");
  CHECK(outcome(HeaderText().text("op", "ping").number("v", 0)) == "unsupported_version");
  CHECK(outcome(HeaderText().text("op", "ping").number("v", 2)) == "unsupported_version");
  CHECK(outcome(HeaderText().text("op", "ping").text("v", "1")) == "unsupported_version");
  CHECK(outcome(HeaderText().text("op", "ping").raw("v", "cb3ff0000000000000")) == "unsupported_version");
  CHECK(outcome(HeaderText().text("op", "future").number("v", 2)) == "unsupported_version");
}

TEST_CASE("a version that is missing is told from a wrong one", "[protocol][header]") {
  MsgpackReader reader;
  RequestHeader header;
  const std::string without = HeaderText().text("op", "ping").bytes();
  CHECK(decode_request_header(without, reader, header).error().context.find("`v` is missing") == 0);
  const std::string wrong = HeaderText().text("op", "ping").text("v", "1").bytes();
  CHECK(decode_request_header(wrong, reader, header).error().context.find("`v` must be the integer 1") == 0);
}

TEST_CASE("an id is nothing, nil, an integer to 2^53 or a str to 64 bytes", "[protocol][header]") {
  CHECK(outcome(request("ping")) == "ok");
  CHECK(outcome(request("ping").raw("id", "c0")) == "ok");
  CHECK(outcome(request("ping").number("id", 0)) == "ok");
  CHECK(outcome(request("ping").number("id", kNumberMax)) == "ok");
  CHECK(outcome(request("ping").number("id", kNumberMax + 1)) == "invalid_argument");
  CHECK(outcome(request("ping").raw("id", "ff")) == "invalid_argument");
  CHECK(outcome(request("ping").text("id", "")) == "ok");
  CHECK(outcome(request("ping").text("id", std::string(kRequestIdBytesMax, 'i'))) == "ok");
  CHECK(outcome(request("ping").text("id", std::string(kRequestIdBytesMax + 1, 'i'))) == "invalid_argument");
  CHECK(outcome(request("ping").text("id", "\xff")) == "invalid_argument");
  CHECK(outcome(request("ping").raw("id", "c40161")) == "invalid_argument");
  CHECK(outcome(request("ping").raw("id", "cb3ff0000000000000")) == "invalid_argument");
  CHECK(outcome(request("ping").raw("id", "9101")) == "invalid_argument");
}

TEST_CASE("an error still knows the request's id where the id could be read", "[protocol][header]") {
  MsgpackReader reader;
  for (const HeaderText& bad :
       {HeaderText().number("v", 2).text("op", "ping").text("id", "r"), HeaderText().number("v", 1).text("id", "r"),
        request("nonsense").text("id", "r"), request("send").text("id", "r"),
        on_queue("receive").number("max", 0).text("id", "r")}) {
    RequestHeader header;
    const std::string bytes = bad.bytes();
    REQUIRE_FALSE(decode_request_header(bytes, reader, header));
    REQUIRE(std::holds_alternative<std::string>(header.id));
    CHECK(std::get<std::string>(header.id) == "r");
  }
  RequestHeader header;
  header.id = std::uint64_t{9};
  REQUIRE_FALSE(decode_request_header("", reader, header));
  CHECK(header.id.index() == 0);  // nothing of an earlier request is left
}

TEST_CASE("every operation but hello, ping and queue.list needs a queue", "[protocol][header]") {
  for (const std::string& op : kOps) {
    INFO(op);
    const bool needs = op != "hello" && op != "ping" && op != "queue.list";
    CHECK(outcome(request(op)) == (needs ? "malformed" : "ok"));
    CHECK(outcome(request(op).number("queue", 1)) == (needs ? "malformed" : "ok"));
    CHECK(outcome(request(op).text("queue", "")) == (needs ? "invalid_argument" : "ok"));
    CHECK(outcome(request(op).text("queue", std::string(kQueueNameBytesMax, 'q'))) == "ok");
    CHECK(outcome(request(op).text("queue", std::string(kQueueNameBytesMax + 1, 'q'))) ==
          (needs ? "invalid_argument" : "ok"));
    CHECK(outcome(request(op).text("queue", "a\nb")) == (needs ? "invalid_argument" : "ok"));
  }
}

TEST_CASE("each number of a header holds its bounds on both sides", "[protocol][header]") {
  struct Row {
    std::string_view op;
    std::string_view key;
    std::uint64_t least;
    std::uint64_t most;
  };
  const Row rows[] = {{"receive", "max", 1, kBatchMessagesMax}, {"receive", "max_bytes", 1, kReceiveBytesMax},
                      {"receive", "wait_ms", 0, kWaitMsMax},    {"receive", "lease_ms", kLeaseMsMin, kLeaseMsMax},
                      {"nack", "delay_ms", 0, kLeaseMsMax},     {"extend", "lease_ms", kLeaseMsMin, kLeaseMsMax},
                      {"queue.list", "max", 1, kListPageMax}};
  for (const Row& row : rows) {
    INFO(row.op << " " << row.key);
    CHECK(outcome(on_queue(row.op).number(row.key, row.least)) == "ok");
    CHECK(outcome(on_queue(row.op).number(row.key, row.most)) == "ok");
    CHECK(outcome(on_queue(row.op).number(row.key, row.most + 1)) == "invalid_argument");
    if (row.least > 0) CHECK(outcome(on_queue(row.op).number(row.key, row.least - 1)) == "invalid_argument");
    for (const std::string_view wrong : {"c0", "c3", "ff", "a131", "c40131", "cb4000000000000000", "9101", "80"}) {
      INFO(wrong);
      CHECK(outcome(on_queue(row.op).raw(row.key, wrong)) == "invalid_argument");
    }
  }
}

TEST_CASE("an operation ignores keys that it does not know", "[protocol][header]") {
  CHECK(outcome(request("ping").number("max", 0).text("producer", std::string(500, 'p'))) == "ok");
  CHECK(outcome(on_queue("send").number("wait_ms", 999999).raw("x", "82a16101a16202")) == "ok");
  CHECK(outcome(on_queue("receive").raw("trace", "93010203").raw("shade", "cb3ff0000000000000")) == "ok");
}

TEST_CASE("a producer and its sequence go together", "[protocol][header]") {
  CHECK(outcome(on_queue("send").text("producer", "p").number("sequence", 1)) == "ok");
  CHECK(outcome(on_queue("send").text("producer", "p")) == "invalid_argument");
  CHECK(outcome(on_queue("send").number("sequence", 1)) == "invalid_argument");
  CHECK(outcome(on_queue("send").text("producer", "").number("sequence", 1)) == "invalid_argument");
  CHECK(outcome(on_queue("send").text("producer", "p").number("sequence", 0)) == "invalid_argument");
  const std::uint64_t last = kNumberMax - kBatchMessagesMax;
  CHECK(outcome(on_queue("send").text("producer", "p").number("sequence", last)) == "ok");
  CHECK(outcome(on_queue("send").text("producer", "p").number("sequence", last + 1)) == "invalid_argument");
  CHECK(outcome(on_queue("send").text("producer", std::string(kProducerBytesMax, 'p')).number("sequence", 1)) == "ok");
  CHECK(outcome(on_queue("send").text("producer", std::string(kProducerBytesMax + 1, 'p')).number("sequence", 1)) ==
        "invalid_argument");
}

TEST_CASE("prefix and after have the bounds of a queue name", "[protocol][header]") {
  for (const std::string_view key : {"prefix", "after"}) {
    CHECK(outcome(request("queue.list").text(key, "")) == "ok");
    CHECK(outcome(request("queue.list").text(key, std::string(kQueueNameBytesMax, 'q'))) == "ok");
    CHECK(outcome(request("queue.list").text(key, std::string(kQueueNameBytesMax + 1, 'q'))) == "invalid_argument");
    CHECK(outcome(request("queue.list").number(key, 1)) == "invalid_argument");
  }
}

TEST_CASE("a header that is no map of string keys is malformed", "[protocol][header]") {
  for (const std::string_view bytes : {"", "90", "c0", "01", "a3616263", "c403616263", "80 00", "82 a176 01 a176 01",
                                       "82 a176 01 01 02", "81 c40176 01", "c1", "d40100"}) {
    INFO(bytes);
    CHECK(outcome(from_hex(bytes)) == "malformed");
  }
  CHECK(outcome(from_hex("80")) == "unsupported_version");
  CHECK(outcome(HeaderText().number("v", 1)) == "malformed");
  CHECK(outcome(HeaderText().number("v", 1).number("op", 1)) == "malformed");
  CHECK(outcome(request("ping").text("op", "ping")) == "malformed");
}

TEST_CASE("a header has at most 64 keys and 64 KiB", "[protocol][header]") {
  HeaderText header = request("ping");
  for (std::size_t i = 2; i < kHeaderKeysMax; ++i) header.number("k" + std::to_string(i), i);
  CHECK(outcome(header) == "ok");
  CHECK(outcome(header.number("one more", 1)) == "too_large");

  const std::size_t frame = request("ping").text("pad", std::string(60'000, 'x')).bytes().size();
  const std::size_t room = kHeaderBytesMax - (frame - 60'000);
  CHECK(outcome(request("ping").text("pad", std::string(room, 'x'))) == "ok");
  CHECK(outcome(request("ping").text("pad", std::string(room + 1, 'x'))) == "too_large");
}

TEST_CASE("a header may be nested 8 deep, the header itself included", "[protocol][header]") {
  const auto arrays = [](std::size_t depth) {
    std::string hex;
    for (std::size_t i = 1; i < depth; ++i) hex += "91";
    return hex + "90";
  };
  CHECK(outcome(request("ping").raw("x", arrays(kDepthMax - 1))) == "ok");
  CHECK(outcome(request("ping").raw("x", arrays(kDepthMax))) == "malformed");
}

TEST_CASE("giant claims in a header are refused", "[protocol][header]") {
  CHECK(outcome(from_hex("df ffffffff")) == "too_large");
  CHECK(outcome(from_hex("dd ffffffff")) == "too_large");
  CHECK(outcome(from_hex("81 db ffffffff")) != "ok");
  CHECK(outcome(request("ping").raw("x", "dd7fffffff")) == "too_large");
  CHECK(outcome(request("ping").raw("x", "c6ffffffff")) != "ok");
}

TEST_CASE("every truncation of a request header is refused", "[protocol][header]") {
  const std::string whole = on_queue("receive").number("max", 300).number("wait_ms", 20000).text("id", "r-1").bytes();
  CHECK(outcome(whole) == "ok");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK(outcome(std::string_view(whole).substr(0, size)) == "malformed");
  }
}

TEST_CASE("a reply header comes back from its bytes", "[protocol][header]") {
  MsgpackReader reader;
  const std::string ok = encode_ok_header(RequestId{std::uint64_t{300}});
  auto reply = decode_reply_header(ok, reader);
  REQUIRE(reply);
  CHECK(reply->code == Errc::kOk);
  CHECK(std::get<std::uint64_t>(reply->id) == 300);
  CHECK_FALSE(reply->retry);

  const std::string error =
      encode_reply_header(RequestId{std::string("x")}, {Errc::kUnavailable, "no worker leads 'orders'"});
  reply = decode_reply_header(error, reader);
  REQUIRE(reply);
  CHECK(reply->code == Errc::kUnavailable);
  CHECK(std::get<std::string>(reply->id) == "x");
  CHECK(reply->message == "no worker leads 'orders'");
  CHECK(reply->retry);

  const std::string plain = encode_reply_header({}, {Errc::kDenied, ""});
  reply = decode_reply_header(plain, reader);
  REQUIRE(reply);
  CHECK(reply->id.index() == 0);
  CHECK(reply->message == code_text(Errc::kDenied));
  CHECK_FALSE(reply->retry);

  CHECK(encode_reply_header({}, {Errc::kOk, "ignored"}) == encode_ok_header({}));

  const std::string confirmed = encode_confirmed_header({}, Confirmation::kLeader);
  reply = decode_reply_header(confirmed, reader);
  REQUIRE(reply);
  CHECK(reply->code == Errc::kOk);
  CHECK(reply->confirmed == Confirmation::kLeader);
  CHECK_FALSE(decode_reply_header(ok, reader)->confirmed);
}

TEST_CASE("a reply with a code of a newer broker is an error that names it", "[protocol][header]") {
  MsgpackReader reader;
  const std::string bytes =
      HeaderText().number("v", 1).text("code", "rate_limited").text("message", "slow down").raw("retry", "c3").bytes();
  const auto reply = decode_reply_header(bytes, reader);
  REQUIRE(reply);
  CHECK(reply->code == Errc::kInternal);
  CHECK(reply->message == "rate_limited: slow down");
  CHECK(reply->retry);
}

TEST_CASE("what is no reply header is refused, and so is every truncation of one", "[protocol][header]") {
  MsgpackReader reader;
  for (const std::string_view text : {"", "90", "80", "81 a4636f6465 01", "82 a4636f6465 a26f6b a4636f6465 a26f6b"}) {
    INFO(text);
    CHECK_FALSE(decode_reply_header(from_hex(text), reader));
  }
  CHECK_FALSE(decode_reply_header(std::string(kHeaderBytesMax + 1, '\x80'), reader));
  const std::string whole = encode_reply_header(RequestId{std::string("x")}, {Errc::kUnavailable, "away"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK_FALSE(decode_reply_header(std::string_view(whole).substr(0, size), reader));
  }
}
