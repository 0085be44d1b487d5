// What goes to which part of a queue, and one reply made of theirs.
#include "router/spread.hpp"

#include <catch2/catch.hpp>

#include "protocol/browse.hpp"
#include "protocol/limits.hpp"
#include "protocol/merge.hpp"
#include "protocol/parts.hpp"

namespace dmq {
namespace {

constexpr std::uint16_t kPartitions = 64;
using Step = Spread::Step;

struct Script {
  Script() {
    queue.id = {5};
    queue.name = "q";
    queue.partition = {10};
    queue.settings.partitions = 4;
    queue.settings.key_partitions = 4;
  }
  Spread::Begun begin(RequestHeader header, const std::string& payload = {}) {
    header.queue = "q";
    header.id = std::uint64_t{7};
    bytes = encode_request_header(header);
    MsgpackReader reader;
    RequestHeader decoded;
    REQUIRE(decode_request_header(bytes, reader, decoded));
    return spread.begin({"client", false, false}, bytes, decoded, payload, queue, kPartitions, now);
  }
  Step begin_step(const RequestHeader& header, const std::string& payload = {}) {
    auto begun = begin(header, payload);
    REQUIRE(std::holds_alternative<Step>(begun));
    Step step = std::get<Step>(std::move(begun));
    ticket = step.ticket;
    return step;
  }
  // -1: not to one part as it is.
  int through(const RequestHeader& header, const std::string& payload = {}) {
    const auto begun = begin(header, payload);
    const auto* through = std::get_if<Spread::Through>(&begun);
    return through == nullptr ? -1 : through->part;
  }
  Step reply(int part, const std::string& payload, const Error& error = {Errc::kOk, {}}) {
    const std::string header =
        error.code == Errc::kOk ? encode_ok_header(std::uint64_t{7}) : encode_reply_header(std::uint64_t{7}, error);
    return spread.on_reply(ticket, static_cast<std::uint16_t>(part), header, payload, now);
  }
  static std::string parts_of(const Step& step) {
    std::string out;
    for (const auto& ask : step.asks) out += std::to_string(ask.part) + " ";
    return out;
  }
  static Op op_of(const Spread::Part& part) { return header_of(part).op; }
  static RequestHeader header_of(const Spread::Part& part) {
    static MsgpackReader reader;
    RequestHeader header;
    REQUIRE(decode_request_header(part.header, reader, header));
    return header;
  }
  static Errc code_of(const Step& step) {
    MsgpackReader reader;
    REQUIRE(step.answer);
    return decode_reply_header(step.answer->header, reader)->code;
  }

  QueueInfo queue;
  Spread spread{"r"};
  std::string bytes;
  std::uint64_t ticket = 0;
  TimeMs now{1000};
};

RequestHeader about(Op op) {
  RequestHeader header;
  header.op = op;
  return header;
}

RequestHeader receive(std::int64_t wait_ms) {
  RequestHeader header = about(Op::kReceive);
  header.max = 5;
  header.wait_ms = DurationMs{wait_ms};
  return header;
}

// A key of each part.
std::string key_of(std::uint16_t part, const QueueSettings& settings) {
  for (int i = 0;; ++i) {
    const std::string key = "k" + std::to_string(i);
    if (part_of_key(ordering_key(key), settings) == part) return key;
  }
}

std::string messages(const std::vector<std::pair<std::string, std::string>>& bodies_and_keys) {
  SendWriter writer;
  for (const auto& [body, key] : bodies_and_keys) {
    Attributes attributes;
    attributes.key = key;
    writer.add(body, key.empty() ? "" : pack_message_pairs(attributes, {}));
  }
  return writer.finish();
}

std::string results(const std::vector<std::string>& texts) {
  std::vector<std::string> items;
  for (const std::string& text : texts) items.push_back(std::string(1, static_cast<char>(0xa0 + text.size())) + text);
  return join_array(items);
}

std::vector<std::string> items_of(const std::string& payload) {
  const auto items = split_array(payload);
  REQUIRE(items);
  return {items->begin(), items->end()};
}

std::string delivery() { return std::string("\x91\x80", 2); }
std::string nothing() { return DeliveryWriter(8).finish(); }

}  // namespace

TEST_CASE("messages without keys go to one part after the other", "[router][spread]") {
  Script s;
  const std::string payload = messages({{"a", ""}, {"b", ""}});
  std::vector<int> parts;
  for (int i = 0; i < 5; ++i) parts.push_back(s.through(about(Op::kSend), payload));
  CHECK(parts == std::vector<int>{0, 1, 2, 3, 0});
}

TEST_CASE("each key has its part, and results come in their order", "[router][spread]") {
  Script s;
  const std::string k1 = key_of(1, s.queue.settings);
  const std::string k3 = key_of(3, s.queue.settings);
  CHECK(s.through(about(Op::kSend), messages({{"a", k3}, {"b", k3}})) == 3);
  const Step step = s.begin_step(about(Op::kSend), messages({{"a", k3}, {"b", k1}, {"c", k3}}));
  REQUIRE(Script::parts_of(step) == "1 3 ");
  CHECK(items_of(step.asks[0].payload) == items_of(messages({{"b", k1}})));
  CHECK(items_of(step.asks[1].payload) == items_of(messages({{"a", k3}, {"c", k3}})));
  SECTION("all answer") {
    CHECK_FALSE(s.reply(3, results({"13-1", "13-2"})).answer);
    const Step done = s.reply(1, results({"11-1"}));
    CHECK(Script::code_of(done) == Errc::kOk);
    CHECK(done.answer->payload == results({"13-1", "11-1", "13-2"}));
    CHECK(done.answer->client.routing_id == "client");
    CHECK(s.spread.size() == 0);
  }
  SECTION("one fails: its items do") {
    s.reply(3, {}, {Errc::kUnavailable, "away"});
    const Step done = s.reply(1, results({"11-1"}));
    CHECK(Script::code_of(done) == Errc::kOk);
    MsgpackReader reader;
    const auto items = decode_results(done.answer->payload, reader);
    REQUIRE(items);
    CHECK((*items)[0].code == Errc::kUnavailable);
    CHECK((*items)[0].text == "away");
    CHECK((*items)[1].text == "11-1");
    CHECK((*items)[2].code == Errc::kUnavailable);
  }
  SECTION("all fail: the request does") {
    s.reply(3, {}, {Errc::kUnavailable, "away"});
    const Step done = s.reply(1, {}, {Errc::kPaused, {}});
    CHECK(Script::code_of(done) == Errc::kPaused);
    CHECK(done.answer->payload.empty());
  }
}

TEST_CASE("what a producer sends goes to one part", "[router][spread]") {
  Script s;
  RequestHeader header = about(Op::kSend);
  header.producer = "p";
  header.sequence = {1};
  const int part = s.through(header, messages({{"a", ""}}));
  CHECK(part == part_of_word("p", s.queue.settings));
  CHECK(s.through(header, messages({{"b", ""}})) == part);
  const std::string k1 = key_of(1, s.queue.settings);
  const std::string k3 = key_of(3, s.queue.settings);
  CHECK(s.through(header, messages({{"a", k3}, {"b", ""}})) == 3);
  const auto refused = s.begin(header, messages({{"a", k3}, {"b", k1}}));
  REQUIRE(std::holds_alternative<Error>(refused));
  CHECK(std::get<Error>(refused).code == Errc::kInvalidArgument);
  header.partition = 2;
  CHECK(s.through(header, messages({{"a", ""}})) == 2);
  header.partition = 4;
  CHECK(std::holds_alternative<Error>(s.begin(header, messages({{"a", ""}}))));
}

TEST_CASE("what cannot be read goes to a worker, which says so", "[router][spread]") {
  Script s;
  CHECK(s.through(about(Op::kSend), "\xc1") == 0);
  CHECK(s.through(about(Op::kAck), "\xc1") == 0);
}

TEST_CASE("receipts go where they come from", "[router][spread]") {
  Script s;
  const auto receipts = [](const std::vector<std::string>& texts) { return encode_receipts(texts); };
  CHECK(s.through(about(Op::kAck), receipts({"12.1.5.1", "12.1.6.2"})) == 2);
  CHECK(s.through(about(Op::kAck), receipts({"9.1.5.1", "nonsense", "70000.1.1.1", ""})) == 0);
  const Step step = s.begin_step(about(Op::kNack), receipts({"12.1.5.1", "10.1.6.2", "x"}));
  REQUIRE(Script::parts_of(step) == "0 2 ");
  CHECK(step.asks[0].payload == join_array({"\xa8"
                                            "10.1.6.2",
                                            "\xa1x"}));
  s.reply(0, results({"ok", "no"}));
  CHECK(s.reply(2, results({"ok"})).answer->payload == results({"ok", "ok", "no"}));
}

TEST_CASE("pages are of one part after the other", "[router][spread]") {
  Script s;
  RequestHeader header = about(Op::kBrowse);
  CHECK(s.through(header) == 0);
  header.after = "13-7-9";
  CHECK(s.through(header) == 3);
  header.after = "14-7-9";
  CHECK(s.through(header) == 0);
  header = about(Op::kQueueRedrive);
  header.after = "11-7";
  CHECK(s.through(header) == 1);
}

TEST_CASE("all parts are asked, and what they count is added", "[router][spread]") {
  Script s;
  const Step step = s.begin_step(about(Op::kQueuePurge));
  REQUIRE(Script::parts_of(step) == "0 1 2 3 ");
  CHECK(step.asks[2].header == s.bytes);
  for (const int part : {0, 1, 3}) CHECK_FALSE(s.reply(part, encode_purged(static_cast<std::uint64_t>(part))).answer);
  SECTION("all succeed") { CHECK(s.reply(2, encode_purged(5)).answer->payload == encode_purged(9)); }
  SECTION("one does not") {
    const Step done = s.reply(2, {}, {Errc::kNotEnoughReplicas, {}});
    CHECK(Script::code_of(done) == Errc::kNotEnoughReplicas);
  }
}

TEST_CASE("a subscription is one for each part, with its share of the credit", "[router][spread]") {
  Script s;
  RequestHeader header = about(Op::kSubscribe);
  header.subscription = "s";
  for (const auto& [credit, share] : {std::pair<std::uint64_t, std::uint64_t>{10, 2}, {3, 1}, {0, 0}}) {
    header.credit = credit;
    const auto begun = s.begin(header);
    const auto* copies = std::get_if<Spread::Copies>(&begun);
    REQUIRE(copies != nullptr);
    REQUIRE(copies->parts.size() == 4);
    CHECK(copies->parts[3].part == 3);
    CHECK(Script::header_of(copies->parts[3]).credit == share);
  }
  CHECK(s.spread.size() == 0);
}

TEST_CASE("a receive asks one part after the other, beginning with another one each time", "[router][spread]") {
  Script s;
  Step step = s.begin_step(receive(0));
  REQUIRE(Script::parts_of(step) == "0 ");
  CHECK(Script::header_of(step.asks[0]).wait_ms == DurationMs{0});
  SECTION("until one has messages") {
    CHECK(Script::parts_of(s.reply(0, nothing())) == "1 ");
    CHECK(Script::parts_of(s.reply(1, {}, {Errc::kUnavailable, {}})) == "2 ");
    const Step done = s.reply(2, delivery());
    REQUIRE(done.answer);
    CHECK(done.answer->passes);
    CHECK(done.asks.empty());
    CHECK(s.spread.size() == 0);
    CHECK(Script::parts_of(s.begin_step(receive(0))) == "1 ");
  }
  SECTION("none has") {
    for (const int part : {0, 1, 2}) s.reply(part, nothing());
    const Step done = s.reply(3, {}, {Errc::kUnavailable, {}});
    CHECK(Script::code_of(done) == Errc::kOk);
    CHECK(done.answer->payload == nothing());
  }
  SECTION("none can say") {
    for (const int part : {0, 1, 2}) s.reply(part, {}, {Errc::kUnavailable, {}});
    CHECK(Script::code_of(s.reply(3, {}, {Errc::kUnavailable, {}})) == Errc::kUnavailable);
  }
}

TEST_CASE("a receive that finds nothing waits for all parts", "[router][spread]") {
  Script s;
  s.begin_step(receive(5000));
  for (const int part : {0, 1, 2}) s.reply(part, nothing());
  s.now = {1010};
  const Step all = s.reply(3, nothing());
  REQUIRE(Script::parts_of(all) == "0 1 2 3 ");
  CHECK(Script::header_of(all.asks[1]).wait_ms == DurationMs{4990});
  const std::string name(Script::header_of(all.asks[1]).subscription);
  CHECK_FALSE(name.empty());
  SECTION("one has messages, the others are told, and what they give goes back") {
    CHECK_FALSE(s.reply(1, nothing()).answer);  // its leader changed
    const Step done = s.reply(2, delivery());
    REQUIRE(done.answer);
    CHECK(done.answer->passes);
    REQUIRE(Script::parts_of(done) == "0 3 ");
    CHECK(Script::op_of(done.asks[0]) == Op::kUnsubscribe);
    CHECK(Script::header_of(done.asks[0]).subscription == name);
    CHECK(s.reply(0, delivery()).give_back);
    CHECK(s.reply(3, nothing()).give_back);
  }
  SECTION("nothing comes") {
    for (const int part : {0, 1, 2}) CHECK_FALSE(s.reply(part, nothing()).answer);
    CHECK(Script::code_of(s.reply(3, nothing())) == Errc::kOk);
    CHECK(s.spread.size() == 0);
  }
}

TEST_CASE("what is acked on delivery is waited for in one part at a time", "[router][spread]") {
  Script s;
  RequestHeader header = receive(250);
  header.ack_on_delivery = true;
  Step step = s.begin_step(header);
  for (const int part : {0, 1, 2, 3, 0, 1}) {
    REQUIRE(Script::parts_of(step) == std::to_string(part) + " ");
    CHECK(Script::header_of(step.asks[0]).wait_ms->value <= 100);
    s.now = s.now + DurationMs{40};
    step = s.reply(part, nothing());
  }
  s.now = s.now + DurationMs{100};
  s.reply(2, nothing());
  CHECK(Script::code_of(s.reply(3, nothing())) == Errc::kOk);
}

TEST_CASE("a receive that no part can serve fails at once, however long it would wait", "[router][spread]") {
  Script script;
  RequestHeader header = about(Op::kReceive);
  header.wait_ms = DurationMs{20'000};
  header.ack_on_delivery = GENERATE(false, true);
  script.begin_step(header);
  const Error away{Errc::kUnavailable, "nobody leads the partition"};
  for (int part = 0; part < 3; ++part) CHECK(Script::parts_of(script.reply(part, {}, away)) != "");
  CHECK(Script::code_of(script.reply(3, {}, away)) == Errc::kUnavailable);
  CHECK(script.spread.size() == 0);
}

TEST_CASE("what is under way is bounded, and forgotten when nobody waits any more", "[router][spread]") {
  Script s;
  s.begin_step(about(Op::kQueueDescribe));
  s.spread.forget(s.now + DurationMs{59'999});
  CHECK(s.spread.size() == 1);
  s.spread.forget(s.now + DurationMs{61'000});
  CHECK(s.spread.size() == 0);
  for (std::size_t i = 0; i < kSpreadMax; ++i) s.begin_step(receive(0));
  const auto refused = s.begin(receive(0));
  REQUIRE(std::holds_alternative<Error>(refused));
  CHECK(std::get<Error>(refused).code == Errc::kUnavailable);
}

TEST_CASE("the address of a part's request is no client's", "[router][spread]") {
  const auto address = Spread::parse_part_address(Spread::part_address(0x123456789abcdef0, 63));
  REQUIRE(address);
  CHECK(address->ticket == 0x123456789abcdef0);
  CHECK(address->part == 63);
  for (const std::string& other :
       {std::string(), std::string("\0abcd", 5), std::string("\0dmqabcdefgh", 12), std::string("xdmqabcdefghij")}) {
    CHECK_FALSE(Spread::parse_part_address(other));
  }
}

}  // namespace dmq
