// The golden frames of tests/wire/golden in both directions: what they say, and that ours are the same bytes.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>

#include "hex.hpp"
#include "protocol/browse.hpp"
#include "protocol/header.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/payload.hpp"
#include "protocol/queue_info.hpp"
#include "protocol/queue_stats.hpp"

using namespace dmq;
using dmq::test::from_hex;
using dmq::test::to_hex;

namespace {

// The frame in a file: its lines of hex, without the comment.
std::string golden(const std::string& name) {
  std::ifstream file(std::string(DMQ_GOLDEN_DIR) + "/" + name + ".hex");
  INFO(name);
  REQUIRE(file);
  std::string line;
  REQUIRE(std::getline(file, line));
  REQUIRE(line.rfind("# ", 0) == 0);
  std::string hex;
  while (std::getline(file, line)) hex += line;
  REQUIRE_FALSE(hex.empty());
  return from_hex(hex);
}

void check_request(const std::string& name, const RequestHeader& expected) {
  const std::string bytes = golden(name + ".request.header");
  INFO(name);
  CHECK(to_hex(encode_request_header(expected)) == to_hex(bytes));
  MsgpackReader reader;
  RequestHeader header;
  REQUIRE(decode_request_header(bytes, reader, header));
  CHECK(header.op == expected.op);
  CHECK(header.id == expected.id);
  CHECK(header.queue == expected.queue);
  CHECK(header.producer == expected.producer);
  CHECK(header.sequence == expected.sequence);
  CHECK(header.max == expected.max);
  CHECK(header.max_bytes == expected.max_bytes);
  CHECK(header.wait_ms == expected.wait_ms);
  CHECK(header.lease_ms == expected.lease_ms);
  CHECK(header.delay_ms == expected.delay_ms);
  CHECK(header.prefix == expected.prefix);
  CHECK(header.after == expected.after);
  CHECK(header.state == expected.state);
  CHECK(header.order == expected.order);
  CHECK(header.body_bytes == expected.body_bytes);
  CHECK(header.subscription == expected.subscription);
  CHECK(header.credit == expected.credit);
  CHECK(header.credit_bytes == expected.credit_bytes);
}

// A success that says how far it is confirmed.
void check_confirmed(const std::string& name, const RequestId& id) {
  const std::string bytes = golden(name + ".reply.header");
  INFO(name);
  CHECK(to_hex(encode_confirmed_header(id, Confirmation::kInSync)) == to_hex(bytes));
  MsgpackReader reader;
  const auto reply = decode_reply_header(bytes, reader);
  REQUIRE(reply);
  CHECK(reply->id == id);
  CHECK(reply->code == Errc::kOk);
  CHECK(reply->confirmed == Confirmation::kInSync);
}

void check_reply(const std::string& name, const RequestId& id, const Error& error) {
  const std::string bytes = golden(name + ".reply.header");
  INFO(name);
  CHECK(to_hex(encode_reply_header(id, error)) == to_hex(bytes));
  MsgpackReader reader;
  const auto reply = decode_reply_header(bytes, reader);
  REQUIRE(reply);
  CHECK(reply->id == id);
  CHECK(reply->code == error.code);
  CHECK(reply->message == (error.code == Errc::kOk ? "" : std::string(code_text(error.code))));
  CHECK(reply->retry == is_retryable(error.code));
}

RequestHeader request(Op op, RequestId id, std::string_view queue = {}) {
  RequestHeader header;
  header.op = op;
  header.id = std::move(id);
  header.queue = queue;
  return header;
}

RequestId number(std::uint64_t id) { return RequestId{id}; }

const QueueInfo kOrders{{12}, "orders", {59}, {1763000000000}, {DurationMs{60000}}};

}  // namespace

TEST_CASE("golden request headers", "[protocol][golden]") {
  check_request("hello", request(Op::kHello, number(1)));
  check_request("ping", request(Op::kPing, {}));
  check_request("send", request(Op::kSend, number(2), "orders"));
  RequestHeader header = request(Op::kSend, number(3), "orders");
  header.producer = "till-4";
  header.sequence = {101};
  check_request("send.producer", header);
  header = request(Op::kReceive, number(4), "orders");
  header.max = 10;
  header.max_bytes = 65536;
  header.wait_ms = DurationMs{20000};
  header.lease_ms = DurationMs{60000};
  check_request("receive", header);
  check_request("ack", request(Op::kAck, number(5), "orders"));
  header = request(Op::kNack, RequestId{std::string("n-1")}, "orders");
  header.delay_ms = DurationMs{1500};
  check_request("nack", header);
  header = request(Op::kNack, RequestId{std::string("n-2")}, "orders");
  header.kind = NackKind::kFatal;
  header.reason = "no such article";
  check_request("nack.fatal", header);
  header = request(Op::kQueueRedrive, number(8), "orders.dead");
  header.max = 100;
  header.after = "12-240";
  check_request("queue.redrive", header);
  header = request(Op::kExtend, number(7), "orders");
  header.lease_ms = DurationMs{120000};
  check_request("extend", header);
  header = request(Op::kSubscribe, number(9), "orders");
  header.subscription = "till-4";
  header.credit = 200;
  header.credit_bytes = 1048576;
  header.wait_ms = DurationMs{60000};
  check_request("subscribe", header);
  header = request(Op::kUnsubscribe, number(10), "orders");
  header.subscription = "till-4";
  check_request("unsubscribe", header);
  check_request("queue.create", request(Op::kQueueCreate, number(8), "orders"));
  check_request("queue.describe", request(Op::kQueueDescribe, number(9), "orders"));
  header = request(Op::kQueueList, number(10));
  header.max = 50;
  header.prefix = "or";
  header.after = "orders";
  check_request("queue.list", header);
  check_request("queue.delete", request(Op::kQueueDelete, number(11), "orders"));
  header = request(Op::kQueueUpdate, number(12), "orders");
  header.version = 1;
  check_request("queue.update", header);
  header = request(Op::kBrowse, number(13), "orders");
  header.state = MessageState::kLeased;
  header.max = 2;
  header.max_bytes = 65536;
  header.body_bytes = 16;
  header.after = "59-1-0";
  check_request("browse", header);
  header = request(Op::kBrowse, number(14), "orders");
  header.order = BrowseOrder::kNext;
  check_request("browse.next", header);
  check_request("queue.purge", request(Op::kQueuePurge, number(15), "orders"));
  check_request("queue.stats", request(Op::kQueueStats, number(16), "orders"));
}

TEST_CASE("golden reply headers", "[protocol][golden]") {
  const Error ok{Errc::kOk, {}};
  check_reply("hello", number(1), ok);
  check_reply("ping", {}, ok);
  check_confirmed("send", number(2));
  check_reply("receive", number(4), ok);
  check_confirmed("ack", number(5));
  check_confirmed("nack", RequestId{std::string("n-1")});
  check_reply("extend", number(7), ok);
  const std::string more = golden("subscribe.reply.header");
  CHECK(to_hex(encode_ok_header(number(9), Replies::kMore)) == to_hex(more));
  MsgpackReader reader;
  CHECK(decode_reply_header(more, reader)->more);
  check_reply("queue.create", number(8), ok);
  check_reply("queue.describe", number(9), ok);
  check_reply("queue.list", number(10), ok);
  check_reply("queue.delete", number(11), ok);
  check_reply("queue.update", number(12), ok);
  check_reply("browse", number(13), ok);
  check_confirmed("queue.purge", number(15));
  check_reply("queue.stats", number(16), ok);
  check_reply("error.denied", number(11), {Errc::kDenied, {}});
  check_reply("error.unavailable", number(2), {Errc::kUnavailable, {}});
  check_reply("error.malformed", {}, {Errc::kMalformed, {}});
}

TEST_CASE("golden payloads of send", "[protocol][golden]") {
  const std::string request_bytes = golden("send.request.payload");
  const std::string attributes = pack_attributes({.headers = {{"colour", "red"}}});
  SendWriter writer;
  writer.add("hello", attributes);
  writer.add("world", {});
  CHECK(to_hex(writer.finish()) == to_hex(request_bytes));
  MsgpackReader reader;
  std::vector<SendItem> items;
  REQUIRE(decode_send(request_bytes, reader, items));
  REQUIRE(items.size() == 2);
  CHECK(items[0].body == "hello");
  CHECK(items[0].attributes == attributes);
  CHECK(items[1].body == "world");
  CHECK(items[1].attributes.empty());

  const std::string reply_bytes = golden("send.reply.payload");
  ResultWriter results(2);
  results.id({59}, {1});
  results.error({Errc::kTooLarge, "the body is over 16 MiB"});
  CHECK(to_hex(results.finish()) == to_hex(reply_bytes));
  auto decoded = decode_results(reply_bytes, reader);
  REQUIRE(decoded);
  REQUIRE(decoded->size() == 2);
  CHECK((*decoded)[0].text == "59-1");
  CHECK((*decoded)[1].code == Errc::kTooLarge);

  const std::string producer_bytes = golden("send.producer.reply.payload");
  ResultWriter producer(2);
  producer.duplicate();
  producer.id({59}, {2});
  CHECK(to_hex(producer.finish()) == to_hex(producer_bytes));
  decoded = decode_results(producer_bytes, reader);
  REQUIRE(decoded);
  REQUIRE(decoded->size() == 2);
  CHECK((*decoded)[0].duplicate);
  CHECK((*decoded)[1].text == "59-2");
}

TEST_CASE("golden payloads of receive", "[protocol][golden]") {
  const std::string bytes = golden("receive.reply.payload");
  DeliveryWriter writer(0);
  const std::string attributes = pack_attributes({.headers = {{"colour", "red"}}});
  writer.begin({{{59}, {1}, {1}, {7}}, 2, TimeMs{1763000000123}, 0, {}, {}, {}, {}, attributes, 5});
  writer.out() += "hello";
  CHECK(to_hex(writer.finish()) == to_hex(bytes));
  MsgpackReader reader;
  std::vector<Delivery> out;
  REQUIRE(decode_deliveries(bytes, reader, out));
  REQUIRE(out.size() == 1);
  CHECK(out[0].id == "59-1");
  CHECK(out[0].receipt == "59.1.1.7");
  CHECK(out[0].deliveries == 2);
  CHECK(out[0].sent_ms == TimeMs{1763000000123});
  CHECK(out[0].attributes.headers == std::vector<HeaderView>{{"colour", "red"}});
  CHECK(out[0].body == "hello");

  const std::string empty = golden("receive.empty.reply.payload");
  CHECK(to_hex(DeliveryWriter(0).finish()) == to_hex(empty));
  REQUIRE(decode_deliveries(empty, reader, out));
  CHECK(out.empty());
}

TEST_CASE("golden payloads of ack", "[protocol][golden]") {
  const std::string request_bytes = golden("ack.request.payload");
  CHECK(to_hex(encode_receipts(std::vector<std::string>{"59.1.1.7", "59.1.2.8"})) == to_hex(request_bytes));
  MsgpackReader reader;
  std::vector<std::string_view> receipts;
  REQUIRE(decode_receipts(request_bytes, reader, receipts));
  CHECK(receipts == std::vector<std::string_view>{"59.1.1.7", "59.1.2.8"});

  const std::string reply_bytes = golden("ack.reply.payload");
  ResultWriter results(2);
  results.ok();
  results.error({Errc::kStaleReceipt, {}});
  CHECK(to_hex(results.finish()) == to_hex(reply_bytes));
  const auto decoded = decode_results(reply_bytes, reader);
  REQUIRE(decoded);
  REQUIRE(decoded->size() == 2);
  CHECK((*decoded)[0].code == Errc::kOk);
  CHECK((*decoded)[1].code == Errc::kStaleReceipt);
}

TEST_CASE("golden payloads of dead letters", "[protocol][golden]") {
  const std::string bytes = golden("receive.dead.reply.payload");
  const Origin origin{"orders", "max_deliveries", "no stock", 5, {1763000000023}, {1763000000103}, {1762999999123}};
  MsgpackReader reader;
  const std::string attributes = pack_moved_attributes({}, "59-1", &origin, reader);
  DeliveryWriter writer(0);
  DeliveryHead head{.receipt = {{60}, {1}, {1}, {7}},
                    .deliveries = 2,
                    .sent_ms = {1763000000123},
                    .first_ms = {1763000001123},
                    .last_ms = {1763000002123},
                    .reason = "still none",
                    .attributes = attributes,
                    .body_bytes = 5};
  writer.begin(head);
  writer.out() += "hello";
  const std::string written = writer.finish();
  for (const std::string& each : {bytes, written}) {  // in another order of keys
    std::vector<Delivery> out;
    REQUIRE(decode_deliveries(each, reader, out));
    REQUIRE(out.size() == 1);
    CHECK(out[0].id == "59-1");
    CHECK(out[0].receipt == "60.1.1.7");
    CHECK(out[0].reason == "still none");
    CHECK(out[0].first_ms == TimeMs{1763000001123});
    CHECK(out[0].last_ms == TimeMs{1763000002123});
    REQUIRE(out[0].attributes.origin);
    CHECK(out[0].attributes.origin->queue == "orders");
    CHECK(out[0].attributes.origin->cause == "max_deliveries");
    CHECK(out[0].attributes.origin->reason == "no stock");
    CHECK(out[0].attributes.origin->deliveries == 5);
    CHECK(out[0].attributes.origin->sent_ms == TimeMs{1762999999123});
    CHECK(out[0].attributes.origin->first_ms == TimeMs{1763000000023});
    CHECK(out[0].attributes.origin->last_ms == TimeMs{1763000000103});
  }
  // Moved again, the old origin goes; redriven, it has none.
  const std::string again = pack_moved_attributes(attributes, "59-1", nullptr, reader);
  CHECK(origin_queue(attributes, reader) == "orders");
  CHECK(origin_queue(again, reader).empty());
  CHECK(stored_id(again) == "59-1");
  CHECK(to_hex(encode_redriven({0, 100, "12-341"})) == to_hex(golden("queue.redrive.reply.payload")));
}

TEST_CASE("golden payloads of hello and of the queue operations", "[protocol][golden]") {
  CHECK(to_hex(encode_hello({.sync = "commit", .admin = "tcp://127.0.0.1:7311"})) ==
        to_hex(golden("hello.reply.payload")));
  const std::string settings_bytes = golden("queue.create.request.payload");
  CHECK(to_hex(encode_queue_settings(kOrders.settings)) == to_hex(settings_bytes));
  MsgpackReader reader;
  const auto settings = decode_queue_settings(settings_bytes, reader);
  REQUIRE(settings);
  CHECK(*settings == kOrders.settings);
  CHECK(to_hex(encode_queue_info(kOrders)) == to_hex(golden("queue.create.reply.payload")));
  QueueInfo paused = kOrders;
  paused.version = 2;
  const auto changed = decode_queue_settings(golden("queue.update.request.payload"), reader, kOrders.settings);
  REQUIRE(changed);
  paused.settings = *changed;
  CHECK(to_hex(encode_queue_info(paused)) == to_hex(golden("queue.update.reply.payload")));
  CHECK(to_hex(encode_queue_status(kOrders, {"w1", 3, 1, 0, 2, 4711, 0})) ==
        to_hex(golden("queue.describe.reply.payload")));
  CHECK(to_hex(encode_queue_list({&kOrders})) == to_hex(golden("queue.list.reply.payload")));
}

TEST_CASE("golden payloads of browse", "[protocol][golden]") {
  const std::string bytes = golden("browse.reply.payload");
  const std::string attributes = pack_attributes({.headers = {{"colour", "red"}}});
  BrowseWriter writer;
  writer.add(
      {{59}, {2}, MessageState::kLeased, 2, {1763000000123}, 3, {1763000060123}, {1763000030123}, 700, attributes},
      std::string(16, 'h'));
  writer.add({{59}, {3}, MessageState::kLeased, 1, {1763000000124}, 0, {}, {1763000030124}, 5, {}}, "hello");
  CHECK(to_hex(writer.finish(BrowseCursor{{59}, {3}, 0})) == to_hex(bytes));
  MsgpackReader reader;
  const auto page = decode_browse(bytes, reader);
  REQUIRE(page);
  REQUIRE(page->messages.size() == 2);
  CHECK(page->after == "59-3-0");
  CHECK(page->messages[0].size == 700);
  CHECK(page->messages[0].lease_until_ms == TimeMs{1763000030123});
  CHECK(page->messages[1].body == "hello");

  const std::string last_bytes = golden("browse.last.reply.payload");
  BrowseWriter last;
  last.add({{59}, {4}, MessageState::kDelayed, 0, {1763000000125}, 0, {}, {1763000001125}, 5, {}}, "world");
  CHECK(to_hex(last.finish({})) == to_hex(last_bytes));
  const auto last_page = decode_browse(last_bytes, reader);
  REQUIRE(last_page);
  CHECK(last_page->after.empty());
  REQUIRE(last_page->messages.size() == 1);
  CHECK(last_page->messages[0].ready_ms == TimeMs{1763000001125});
}

TEST_CASE("golden payloads of purge and statistics", "[protocol][golden]") {
  CHECK(to_hex(encode_purged(4711)) == to_hex(golden("queue.purge.reply.payload")));
  QueueStats stats{"orders", "w1", 3, 1, 0, 0, 4711, 0, {1763000000123}, {1763000000000}, {1762990000000}};
  stats.totals = {9000, 8997, 8990, 5, 2};
  stats.recent_ms = {10'500};
  stats.recent = {105, 104, 103, 1, 0};
  CHECK(to_hex(encode_queue_stats(stats)) == to_hex(golden("queue.stats.reply.payload")));
}

TEST_CASE("there are no golden frames but those checked above", "[protocol][golden]") {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(DMQ_GOLDEN_DIR)) {
    found.insert(entry.path().stem().string());
  }
  CHECK(found == std::set<std::string>{"ack.reply.header",
                                       "ack.reply.payload",
                                       "ack.request.header",
                                       "ack.request.payload",
                                       "browse.last.reply.payload",
                                       "browse.next.request.header",
                                       "browse.reply.header",
                                       "browse.reply.payload",
                                       "browse.request.header",
                                       "error.denied.reply.header",
                                       "error.malformed.reply.header",
                                       "error.unavailable.reply.header",
                                       "extend.reply.header",
                                       "extend.request.header",
                                       "hello.reply.header",
                                       "hello.reply.payload",
                                       "hello.request.header",
                                       "nack.fatal.request.header",
                                       "nack.reply.header",
                                       "nack.request.header",
                                       "ping.reply.header",
                                       "ping.request.header",
                                       "queue.create.reply.header",
                                       "queue.create.reply.payload",
                                       "queue.create.request.header",
                                       "queue.create.request.payload",
                                       "queue.delete.reply.header",
                                       "queue.delete.request.header",
                                       "queue.describe.reply.header",
                                       "queue.describe.reply.payload",
                                       "queue.describe.request.header",
                                       "queue.list.reply.header",
                                       "queue.list.reply.payload",
                                       "queue.list.request.header",
                                       "queue.purge.reply.header",
                                       "queue.purge.reply.payload",
                                       "queue.purge.request.header",
                                       "queue.redrive.reply.payload",
                                       "queue.redrive.request.header",
                                       "queue.stats.reply.header",
                                       "queue.stats.reply.payload",
                                       "queue.stats.request.header",
                                       "queue.update.reply.header",
                                       "queue.update.reply.payload",
                                       "queue.update.request.header",
                                       "queue.update.request.payload",
                                       "receive.dead.reply.payload",
                                       "receive.empty.reply.payload",
                                       "receive.reply.header",
                                       "receive.reply.payload",
                                       "receive.request.header",
                                       "send.producer.reply.payload",
                                       "send.producer.request.header",
                                       "send.reply.header",
                                       "send.reply.payload",
                                       "send.request.header",
                                       "send.request.payload",
                                       "subscribe.reply.header",
                                       "subscribe.request.header",
                                       "unsubscribe.request.header"});
}
