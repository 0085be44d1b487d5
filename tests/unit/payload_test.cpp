// Payload frames: messages, receipts, results and deliveries, with every limit from both sides.
#include "protocol/payload.hpp"

#include <catch2/catch.hpp>

#include "hex.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

using namespace dmq;
using dmq::test::from_hex;

namespace {

// "ok" and the outcome of each message, or the error of the whole request: "ok [ok too_large]".
std::string send_outcome(std::string_view payload) {
  MsgpackReader reader;
  std::vector<SendItem> items;
  const auto result = decode_send(payload, reader, items);
  if (!result) return std::string(code_name(result.error().code));
  std::string text = "ok [";
  for (const SendItem& item : items) {
    text += (text.back() == '[' ? "" : " ") + std::string(code_name(item.error.code));
  }
  return text + "]";
}

std::string receipts_outcome(std::string_view payload) {
  MsgpackReader reader;
  std::vector<std::string_view> receipts;
  const auto result = decode_receipts(payload, reader, receipts);
  return std::string(code_name(result ? Errc::kOk : result.error().code));
}

bool results_ok(std::string_view payload) {
  MsgpackReader reader;
  return decode_results(payload, reader).has_value();
}

bool deliveries_ok(std::string_view payload) {
  MsgpackReader reader;
  std::vector<Delivery> out;
  return decode_deliveries(payload, reader, out).has_value();
}

// A send of one message: a map with a body and these headers.
std::string send_with_headers(const std::vector<HeaderView>& headers) {
  SendWriter writer;
  writer.add("b", pack_attributes({.headers = headers}));
  return writer.finish();
}

std::string repeated(std::size_t count, std::string_view item_hex) {
  std::string out;
  Packer packer(out);
  packer.array(count);
  const std::string item = from_hex(item_hex);
  for (std::size_t i = 0; i < count; ++i) packer.raw(item);
  return out;
}

std::string one_delivery(const std::string& body, std::string_view attributes) {
  DeliveryWriter writer(64);
  writer.begin({{{3}, {1}, {42}, {7}}, 2, TimeMs{1700000000123}, 0, {}, {}, {}, {}, attributes, body.size()});
  writer.out() += body;
  return writer.finish();
}

}  // namespace

TEST_CASE("a message is a body alone, or a map with a body", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<SendItem> items;
  const std::string payload = from_hex("94 c4026869 a26869 81a4626f6479c4026869 81a4626f6479a26869");
  REQUIRE(decode_send(payload, reader, items));
  REQUIRE(items.size() == 4);
  for (const SendItem& item : items) {
    CHECK(item.error.code == Errc::kOk);
    CHECK(item.body == "hi");
    CHECK(item.attributes.empty());
  }
}

TEST_CASE("an empty body is a message", "[protocol][payload]") {
  CHECK(send_outcome(from_hex("92 c400 a0")) == "ok [ok ok]");
}

TEST_CASE("headers travel as packed attributes", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<SendItem> items;
  // A str value and a bin value of the same bytes are the same header.
  const std::string payload = from_hex("91 82 a4626f6479 c40162 a768656164657273 82 a161 a131 a162 c40132");
  REQUIRE(decode_send(payload, reader, items));
  REQUIRE(items.size() == 1);
  CHECK(items[0].error.code == Errc::kOk);
  CHECK(items[0].attributes == pack_attributes({.headers = {{"a", "1"}, {"b", "2"}}}));
  CHECK(pack_attributes({}).empty());
}

TEST_CASE("an empty map of headers is no attribute", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<SendItem> items;
  REQUIRE(decode_send(from_hex("91 82 a4626f6479 c40162 a768656164657273 80"), reader, items));
  CHECK(items[0].error.code == Errc::kOk);
  CHECK(items[0].attributes.empty());
}

TEST_CASE("a bad message does not touch its neighbours", "[protocol][payload]") {
  CHECK(send_outcome(from_hex("97 c40161 01 c0 c3 90 80 a162")) ==
        "ok [ok malformed malformed malformed malformed malformed ok]");
  CHECK(send_outcome(from_hex("92 81 a4626f6479 01 a162")) == "ok [malformed ok]");                        // body: 1
  CHECK(send_outcome(from_hex("92 82 a4626f6479 a161 a4626f6479 a161 a162")) == "ok [malformed ok]");      // body twice
  CHECK(send_outcome(from_hex("92 82 a4626f6479 a161 01 a161 a162")) == "ok [malformed ok]");              // a key 1
  CHECK(send_outcome(from_hex("92 82 a4626f6479 a161 a768656164657273 01 a162")) == "ok [malformed ok]");  // headers: 1
  CHECK(send_outcome(from_hex("92 82 a4626f6479 a161 a768656164657273 81a16101 a162")) == "ok [malformed ok]");
  CHECK(send_outcome(from_hex("92 82 a4626f6479 a161 a768656164657273 82a161a162a161a163 a162")) ==
        "ok [malformed ok]");
}

TEST_CASE("unknown keys of a message are ignored, reserved ones refused", "[protocol][payload]") {
  const auto with_key = [](std::string_view key) {
    std::string payload;
    Packer packer(payload);
    packer.array(1);
    packer.map(2);
    packer.text("body");
    packer.bytes("b");
    packer.text(key);
    packer.number(1);
    return payload;
  };
  CHECK(send_outcome(with_key("dedup_id")) == "ok [invalid_argument]");  // nor is it
  CHECK(send_outcome(with_key("key")) == "ok [invalid_argument]");       // it is no str
  for (const std::string_view key : {"colour", "Priority", "", "delay"}) {
    INFO(key);
    CHECK(send_outcome(with_key(key)) == "ok [ok]");
  }
}

TEST_CASE("a header name must be clean UTF-8, a value may be any bytes", "[protocol][payload]") {
  CHECK(send_outcome(send_with_headers({{"n\xc3\xa9", "\xff\x00"}})) == "ok [ok]");
  CHECK(send_outcome(send_with_headers({{"", ""}})) == "ok [ok]");
  CHECK(send_outcome(send_with_headers({{"\xff", "v"}})) == "ok [malformed]");
  CHECK(send_outcome(send_with_headers({{"a\nb", "v"}})) == "ok [malformed]");
}

TEST_CASE("the headers of a message have at most 16 KiB, 10 bytes counted for each", "[protocol][payload]") {
  const std::string fits(kMessageHeaderBytesMax - 10 - 1, 'v');
  CHECK(send_outcome(send_with_headers({{"n", fits}})) == "ok [ok]");
  CHECK(send_outcome(send_with_headers({{"n", fits + "v"}})) == "ok [too_large]");
}

TEST_CASE("a message has at most 64 headers", "[protocol][payload]") {
  std::vector<std::string> names;
  for (std::size_t i = 0; i <= kMessageHeadersMax; ++i) names.push_back("h" + std::to_string(i));
  std::vector<HeaderView> headers;
  for (std::size_t i = 0; i < kMessageHeadersMax; ++i) headers.emplace_back(names[i], "v");
  CHECK(send_outcome(send_with_headers(headers)) == "ok [ok]");
  headers.emplace_back(names.back(), "v");
  CHECK(send_outcome(send_with_headers(headers)) == "too_large");  // the whole request: the frame is not read on
}

TEST_CASE("a request has 1 to 1,000 messages", "[protocol][payload]") {
  CHECK(send_outcome(from_hex("90")) == "invalid_argument");
  CHECK(send_outcome(from_hex("dd 00000000")) == "invalid_argument");
  MsgpackReader reader;
  std::vector<SendItem> items;
  CHECK(decode_send(repeated(kBatchMessagesMax, "c40162"), reader, items));
  CHECK(items.size() == kBatchMessagesMax);
  CHECK(send_outcome(repeated(kBatchMessagesMax + 1, "c40162")) == "too_large");
}

TEST_CASE("a body has at most 16 MiB, and fails alone", "[protocol][payload]") {
  SendWriter writer;
  writer.add(std::string(kMessageBytesMax, 'x'), {});
  writer.add("small", {});
  CHECK(send_outcome(writer.finish()) == "ok [ok ok]");
  writer.add(std::string(kMessageBytesMax + 1, 'x'), {});
  writer.add("small", {});
  CHECK(send_outcome(writer.finish()) == "ok [too_large ok]");
}

TEST_CASE("a send payload has at most 32 MiB", "[protocol][payload]") {
  const auto of_size = [](std::size_t bytes) {
    SendWriter writer;
    writer.add(std::string(kMessageBytesMax, 'x'), {});
    writer.add(std::string(bytes - writer.bytes() - 5, 'y'), {});
    std::string payload = writer.finish();
    REQUIRE(payload.size() == bytes);
    return payload;
  };
  CHECK(send_outcome(of_size(kRequestBytesMax)) == "ok [ok ok]");
  CHECK(send_outcome(of_size(kRequestBytesMax + 1)) == "too_large");
}

TEST_CASE("a payload has at most 200,000 values", "[protocol][payload]") {
  std::string item = "dc00c7";  // a message that is an array of 199: malformed, but counted
  for (int i = 0; i < 199; ++i) item += "01";
  CHECK(send_outcome(repeated(1000, item)).substr(0, 4) == "ok [");  // 1,000 + 1,000 * 199
  std::string more = "dc00c8";
  for (int i = 0; i < 200; ++i) more += "01";
  CHECK(send_outcome(repeated(1000, more)) == "too_large");
}

TEST_CASE("a payload may be nested 8 deep", "[protocol][payload]") {
  CHECK(send_outcome(from_hex("91 91919191919190")) == "ok [malformed]");  // 8, but no message
  CHECK(send_outcome(from_hex("91 9191919191919190")) == "malformed");     // 9
}

TEST_CASE("what is no array of messages is refused", "[protocol][payload]") {
  for (const std::string_view text :
       {"", "c0", "01", "80", "a26869", "c4026869", "91", "91c40161 00", "c1", "91c1", "91d40100", "91c70001"}) {
    INFO(text);
    CHECK(send_outcome(from_hex(text)) == "malformed");
  }
  CHECK(send_outcome(from_hex("dd ffffffff")) == "too_large");
  CHECK(send_outcome(from_hex("91 df ffffffff")) == "too_large");
  CHECK(send_outcome(from_hex("91 c6 ffffffff")) != "ok [ok]");
}

TEST_CASE("what is wrong with a batch is said in numbers and names", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<SendItem> items;
  std::vector<std::string_view> receipts;
  CHECK(decode_send("", reader, items).error().context == "`send` needs a payload: an array of messages");
  CHECK(decode_receipts("", reader, receipts).error().context ==
        "`ack`, `nack` and `extend` need a payload: an array of receipts");
  for (const std::string_view start : {"dc 03e9", "dd 000003e9"}) {
    std::string payload = from_hex(start);
    for (int i = 0; i < 1001; ++i) payload += "\xa1x";
    CHECK(decode_send(payload, reader, items).error().context == "the request has 1001 messages; the limit is 1000");
    CHECK(decode_receipts(payload, reader, receipts).error().context ==
          "the request has 1001 receipts; the limit is 1000");
  }
  CHECK(decode_send(from_hex("dd ffffffff"), reader, items).error().context ==
        "the request has 4294967295 messages; the limit is 1000");
  // A message that is too large within a batch that is not.
  CHECK(decode_send(from_hex("91 df ffffffff"), reader, items).error().context.find("messages") == std::string::npos);
}

TEST_CASE("every truncation of a send payload is refused", "[protocol][payload]") {
  SendWriter writer;
  writer.add("first", pack_attributes({.headers = {{"colour", "red"}}}));
  writer.add("second", {});
  const std::string whole = writer.finish();
  CHECK(send_outcome(whole) == "ok [ok ok]");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK(send_outcome(std::string_view(whole).substr(0, size)) == "malformed");
  }
}

TEST_CASE("a send writer is empty again after finish", "[protocol][payload]") {
  SendWriter writer;
  const std::size_t empty = writer.bytes();
  writer.add("a", {});
  CHECK(writer.count() == 1);
  CHECK(writer.finish() == from_hex("dd00000001 c40161"));
  CHECK(writer.count() == 0);
  CHECK(writer.bytes() == empty);
  writer.add("b", {});
  CHECK(writer.finish() == from_hex("dd00000001 c40162"));
}

TEST_CASE("receipts come back in order", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<std::string_view> receipts;
  const std::string payload = encode_receipts(std::vector<std::string>{"1.1.5.9", "1.1.6.10"});
  REQUIRE(decode_receipts(payload, reader, receipts));
  CHECK(receipts == std::vector<std::string_view>{"1.1.5.9", "1.1.6.10"});
  const std::string binary = from_hex("91 c403312e31");  // bin is taken too
  REQUIRE(decode_receipts(binary, reader, receipts));
  CHECK(receipts == std::vector<std::string_view>{"1.1"});
}

TEST_CASE("a request has 1 to 1,000 receipts, all of them texts", "[protocol][payload]") {
  CHECK(receipts_outcome(from_hex("90")) == "invalid_argument");
  CHECK(receipts_outcome(repeated(kBatchMessagesMax, "a131")) == "ok");
  CHECK(receipts_outcome(repeated(kBatchMessagesMax + 1, "a131")) == "too_large");
  for (const std::string_view text :
       {"", "c0", "80", "a131", "9101", "92a13101", "91c0", "9190", "91a131 00", "91d40100"}) {
    INFO(text);
    CHECK(receipts_outcome(from_hex(text)) == "malformed");
  }
  const std::string whole = encode_receipts(std::vector<std::string>{"1.1.5.9", "1.1.6.10"});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK(receipts_outcome(std::string_view(whole).substr(0, size)) == "malformed");
  }
}

TEST_CASE("results come back in order with their kinds", "[protocol][payload]") {
  ResultWriter writer(4);
  writer.id({3}, {42});
  writer.ok();
  writer.duplicate();
  writer.error({Errc::kTooLarge, "the body is over 16 MiB"});
  MsgpackReader reader;
  const auto results = decode_results(writer.finish(), reader);
  REQUIRE(results);
  REQUIRE(results->size() == 4);
  CHECK((*results)[0].code == Errc::kOk);
  CHECK((*results)[0].text == "3-42");
  CHECK((*results)[1].text == "ok");
  CHECK((*results)[2].code == Errc::kOk);
  CHECK((*results)[2].duplicate);
  CHECK((*results)[3].code == Errc::kTooLarge);
  CHECK((*results)[3].text == "the body is over 16 MiB");
  CHECK_FALSE((*results)[3].duplicate);
}

TEST_CASE("a result with an unknown code is an error", "[protocol][payload]") {
  MsgpackReader reader;
  const auto results = decode_results(from_hex("91 81 a4636f6465 a46c617465"), reader);
  REQUIRE(results);
  CHECK((*results)[0].code == Errc::kInternal);
}

TEST_CASE("what is no array of results is refused, and so is every truncation", "[protocol][payload]") {
  for (const std::string_view text : {"", "c0", "80", "9101", "9180", "9181a4636f646501", "91c4026f6b",
                                      "9182a4636f6465a26f6ba4636f6465a26f6b", "91a26f6b00"}) {
    INFO(text);
    CHECK_FALSE(results_ok(from_hex(text)));
  }
  CHECK(results_ok(from_hex("90")));
  ResultWriter writer(3);
  writer.id({3}, {42});
  writer.duplicate();
  writer.error({Errc::kStaleReceipt, ""});
  const std::string whole = writer.finish();
  CHECK(results_ok(whole));
  for (std::size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(results_ok(std::string_view(whole).substr(0, size)));
}

TEST_CASE("a delivery comes back from its bytes", "[protocol][payload]") {
  MsgpackReader reader;
  std::vector<Delivery> out;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{255}, std::size_t{256}, std::size_t{70000}}) {
    INFO(size);
    const std::string body(size, 'b');
    const std::string payload = one_delivery(body, pack_attributes({.headers = {{"colour", "red"}}}));
    REQUIRE(decode_deliveries(payload, reader, out));
    REQUIRE(out.size() == 1);
    CHECK(out[0].id == "3-42");
    CHECK(out[0].receipt == "3.1.42.7");
    CHECK(out[0].deliveries == 2);
    CHECK(out[0].sent_ms == TimeMs{1700000000123});
    CHECK(out[0].body == body);
    CHECK(out[0].attributes.headers == std::vector<HeaderView>{{"colour", "red"}});
  }
  REQUIRE(decode_deliveries(DeliveryWriter(0).finish(), reader, out));
  CHECK(out.empty());
}

TEST_CASE("a message that was begun can be taken back", "[protocol][payload]") {
  DeliveryWriter writer(0);
  writer.begin({{{3}, {1}, {42}, {7}}, 1, TimeMs{1}, 0, {}, {}, {}, {}, {}, 1});
  writer.out() += 'a';
  const std::size_t mark = writer.bytes();
  writer.begin({{{3}, {1}, {43}, {8}}, 1, TimeMs{1}, 0, {}, {}, {}, {}, {}, 1000});
  writer.take_back(mark);
  CHECK(writer.count() == 1);
  MsgpackReader reader;
  std::vector<Delivery> out;
  const std::string payload = writer.finish();
  REQUIRE(decode_deliveries(payload, reader, out));
  REQUIRE(out.size() == 1);
  CHECK(out[0].id == "3-42");
}

TEST_CASE("the largest reply that a broker makes is read", "[protocol][payload]") {
  // 31 MiB of bodies, and as many headers as 1,000 messages can have on top of them.
  const std::string value(kMessageHeaderBytesMax - 10 - 1, 'v');
  const std::string attributes = pack_attributes({.headers = {{"n", value}}});
  const std::size_t body_bytes = kReceiveBytesMax / kBatchMessagesMax;
  DeliveryWriter writer(0);
  for (std::size_t i = 0; i < kBatchMessagesMax; ++i) {
    writer.begin(
        {{{65535}, {4294967295U}, {i}, {4294967295U}}, 1, TimeMs{1}, 0, {}, {}, {}, {}, attributes, body_bytes});
    writer.out().append(body_bytes, 'b');
  }
  const std::string payload = writer.finish();
  CHECK(payload.size() > kRequestBytesMax);
  CHECK(payload.size() <= kReplyBytesMax);
  CHECK(deliveries_ok(payload));
}

TEST_CASE("what is no array of deliveries is refused, and so is every truncation", "[protocol][payload]") {
  for (const std::string_view text : {"", "c0", "80", "9101", "9180", "91a131", "91 81 a772656365697074 a131",
                                      "91 81 a4626f6479 c40162", "91 82 a772656365697074 01 a4626f6479 c40162",
                                      "91 83 a772656365697074 a131 a4626f6479 c40162 a4626f6479 c40162",
                                      "91 83 a772656365697074 a131 a4626f6479 c40162 a768656164657273 01"}) {
    INFO(text);
    CHECK_FALSE(deliveries_ok(from_hex(text)));
  }
  CHECK(deliveries_ok(from_hex("91 82 a772656365697074 a131 a4626f6479 c40162")));
  const std::string whole = one_delivery("body", pack_attributes({.headers = {{"colour", "red"}}}));
  CHECK(deliveries_ok(whole));
  CHECK_FALSE(deliveries_ok(whole + '\0'));
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CHECK_FALSE(deliveries_ok(std::string_view(whole).substr(0, size)));
  }
}

// --- options and labels --------------------------------------------------------------------------------------------

namespace {

msgpack::object text(const char* value) { return msgpack::object(value); }

// What becomes of a message with these pairs: "ok", or the code and the sentence.
std::string taken(const std::vector<std::pair<std::string, msgpack::object>>& pairs, SendItem* item = nullptr) {
  std::string payload;
  Packer packer(payload);
  packer.array(1);
  packer.map(1 + pairs.size());
  packer.text("body");
  packer.bytes("b");
  for (const auto& [key, value] : pairs) {
    packer.text(key);
    packer.object(value);
  }
  MsgpackReader reader;
  std::vector<SendItem> items;
  REQUIRE(decode_send(payload, reader, items));
  if (item != nullptr) *item = items[0];
  if (items[0].error.code == Errc::kOk) return "ok";
  return std::string(code_name(items[0].error.code)) + ": " + items[0].error.context;
}

}  // namespace

TEST_CASE("options of a message are read, each within its limits", "[protocol][payload]") {
  SendItem item;
  CHECK(taken({{"priority", msgpack::object(9)}, {"delay_ms", msgpack::object(0)}, {"ttl_ms", msgpack::object(1)}},
              &item) == "ok");
  CHECK(item.options.priority == 9);
  CHECK(item.options.delay_ms == DurationMs{0});
  CHECK(item.options.ttl_ms == DurationMs{1});
  CHECK_FALSE(item.options.deliver_at);
  CHECK(item.attributes.empty());
  CHECK(taken({{"deliver_at", msgpack::object(std::uint64_t{1} << 53)}}, &item) == "ok");
  CHECK(item.options.deliver_at == TimeMs{std::int64_t{1} << 53});
  CHECK(taken({{"priority", msgpack::object(10)}}) == "invalid_argument: `priority` must be an integer from 0 to 9");
  CHECK(taken({{"priority", msgpack::object(-1)}}) == "invalid_argument: `priority` must be an integer from 0 to 9");
  CHECK(taken({{"priority", msgpack::object(1.5)}}).starts_with("invalid_argument"));
  CHECK(taken({{"delay_ms", msgpack::object(-1)}}).starts_with("invalid_argument: `delay_ms` must be"));
  CHECK(taken({{"ttl_ms", msgpack::object(0)}}, &item) == "ok");
  CHECK(item.options.ttl_ms == DurationMs{0});
  CHECK(taken({{"ttl_ms", msgpack::object(-1)}}).starts_with("invalid_argument: `ttl_ms` must be"));
  CHECK(taken({{"ttl_ms", msgpack::object((std::uint64_t{1} << 53) + 1)}}).starts_with("invalid_argument"));
  CHECK(taken({{"delay_ms", msgpack::object(1)}, {"deliver_at", msgpack::object(1)}}) ==
        "invalid_argument: a message has `delay_ms` or `deliver_at`, not both");
}

TEST_CASE("labels travel with the message", "[protocol][payload]") {
  const std::string longest(kMessageLabelBytesMax, 'x');
  const Attributes attributes{{{"colour", "red"}}, "image/png", "answers", longest, "00-0af7-b7ad-01"};
  SendWriter writer;
  writer.add("b", pack_message_pairs(attributes, {.priority = 3, .ttl_ms = DurationMs{5}}));
  const std::string sent = writer.finish();
  MsgpackReader reader;
  std::vector<SendItem> items;
  REQUIRE(decode_send(sent, reader, items));
  CHECK(items[0].error.code == Errc::kOk);
  CHECK(items[0].options.priority == 3);
  CHECK(items[0].attributes == pack_attributes(attributes));
  DeliveryWriter out(0);
  out.begin({{{1}, {1}, {1}, {1}}, 1, TimeMs{1}, 3, TimeMs{6}, {}, {}, {}, items[0].attributes, 1});
  out.out() += 'b';
  const std::string payload = out.finish();
  std::vector<Delivery> deliveries;
  REQUIRE(decode_deliveries(payload, reader, deliveries));
  CHECK(deliveries[0].priority == 3);
  CHECK(deliveries[0].expires_ms == TimeMs{6});
  CHECK(deliveries[0].attributes.headers == attributes.headers);
  CHECK(deliveries[0].attributes.content_type == "image/png");
  CHECK(deliveries[0].attributes.reply_to == "answers");
  CHECK(deliveries[0].attributes.correlation_id == longest);
  CHECK(deliveries[0].attributes.traceparent == "00-0af7-b7ad-01");
  CHECK(deliveries[0].body == "b");
  const std::string over = longest + "x";
  CHECK(taken({{"content_type", msgpack::object(over.c_str())}}).starts_with("invalid_argument: `content_type` must"));
  CHECK(taken({{"reply_to", text("a\nb")}}).starts_with("invalid_argument"));
  CHECK(taken({{"reply_to", text("")}}).starts_with("invalid_argument"));
  CHECK(taken({{"traceparent", msgpack::object(7)}}).starts_with("invalid_argument"));
}
