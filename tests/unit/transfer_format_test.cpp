// Lines of dmq export are read as they were written, and what is wrong with one is said.
#include "clients/cli/transfer_format.hpp"

#include <catch2/catch.hpp>

#include "clients/cli/browsed_output.hpp"
#include "clients/cli/byte_text.hpp"

namespace dmq::cli {
namespace {

using Clock = std::chrono::system_clock;
using std::chrono::milliseconds;

constexpr Clock::time_point kNow{std::chrono::seconds(1'700'000'000)};

MessageLine message_of(const std::string& line) { return std::get<MessageLine>(read_transfer_line(line, kNow)); }

BrowsedMessage odd_message() {
  BrowsedMessage message;
  message.id = "1-2";
  message.state = "delayed";
  message.body = std::string("\x00\xff", 2);
  message.size = 2;
  message.priority = 7;
  message.sent_at = kNow;
  message.ready_at = kNow + milliseconds(1500);
  message.expires_at = kNow + milliseconds(2500);
  message.headers = {{"plain", "text"}, {"odd_base64", "text"}, {"binary", "\xfe"}, {"empty", ""}};
  message.content_type = "a";
  message.reply_to = "b";
  message.correlation_id = "c";
  message.traceparent = "d";
  message.key = "e";
  return message;
}

void check_is_odd(const MessageLine& read) {
  const BrowsedMessage message = odd_message();
  CHECK(read.queue == "jobs");
  CHECK(read.message.body == message.body);
  CHECK(read.message.priority == 7);
  CHECK(read.message.deliver_at == message.ready_at);
  CHECK(read.message.ttl == milliseconds(2500));
  CHECK(read.message.headers == message.headers);
  CHECK(read.message.content_type + read.message.reply_to + read.message.correlation_id + read.message.traceparent +
            read.message.key ==
        "abcde");
  CHECK_FALSE(read.dead);
  CHECK_FALSE(read.expired);
}

std::string packed_trouble(const std::string& packed) {
  try {
    read_packed_line(packed, kNow);
  } catch (const ClientError& error) {
    return error.code() + ": " + error.failure().message;
  }
  return "none";
}

std::string trouble(const std::string& line) {
  try {
    read_transfer_line(line, kNow);
  } catch (const ClientError& error) {
    return error.code() + ": " + error.failure().message;
  }
  return "none";
}

}  // namespace

TEST_CASE("base64 is read back, and nothing else is taken for it", "[client][cli]") {
  for (const std::string text : {"", "a", "ab", "abc", "abcd"}) {
    const std::string pair = json_bytes("x_base64", text);
    const std::string coded = pair.substr(pair.rfind(':') + 2, pair.size() - pair.rfind(':') - 3);
    CHECK(from_base64(coded) == text);
  }
  for (const char* bad : {"YQ", "YQ=", "YR==", "Y===", "====", "YQ==YQ==", "Y\xc3\xa4==", "YQ =", "YWJj\n"}) {
    INFO(bad);
    CHECK_FALSE(from_base64(bad));
  }
}

TEST_CASE("a message comes back from its line as it was", "[client][cli]") {
  check_is_odd(message_of(json_line(odd_message(), "jobs")));
}

TEST_CASE("a message comes back from MessagePack as it was", "[client][cli]") {
  const std::string packed = packed_line(json_line(odd_message(), "jobs"));
  CHECK(begins_packed(packed.front()));
  check_is_odd(std::get<MessageLine>(read_packed_line(packed, kNow)));
  const std::string bin = std::string(
      "\xa4"
      "body"
      "\xc4\x02\x00\xff",
      9);
  CHECK(packed.find(bin) != std::string::npos);
}

TEST_CASE("a text body is bytes in MessagePack, and text is taken for its bytes", "[client][cli]") {
  CHECK(packed_line("{\"body\":\"x\"}\n") ==
        "\x81\xa4"
        "body"
        "\xc4\x01x");
  CHECK(std::get<MessageLine>(read_packed_line("\x81\xa4"
                                               "body"
                                               "\xa1x",
                                               kNow))
            .message.body == "x");
}

TEST_CASE("settings come back from MessagePack", "[client][cli]") {
  const std::string line = R"({"queue":"q","settings":{"lease_ms":5000,"priority_weights":[1,2],"dedup":"replace"}})";
  const auto packed = read_packed_line(packed_line(line), kNow);
  const auto& [queue, options] = std::get<QueueLine>(packed);
  CHECK(queue == "q");
  CHECK(options.lease == milliseconds(5000));
  CHECK(options.priority_weights == std::vector<int>{1, 2});
  CHECK(options.dedup == "replace");
}

TEST_CASE("what is wrong with a MessagePack map is said", "[client][cli]") {
  CHECK(packed_trouble("\x81\x01\x02") == "malformed: it is no map with names for keys");
  CHECK(packed_trouble("\x80") == "malformed: a message has no 'body'");
  CHECK(packed_trouble("\x81\xa4"
                       "body"
                       "\x07") == "malformed: 'body' is neither text nor bytes");
  CHECK(packed_trouble(packed_line(R"({"queue":"q","body":"x","size":2})")) == "malformed: its body is cut short");
  CHECK_FALSE(begins_packed('{'));
  CHECK_FALSE(begins_packed('\x93'));
}

TEST_CASE("a dead and an expired message are told", "[client][cli]") {
  CHECK(message_of(R"({"queue":"q","body":"x","state":"dead"})").dead);
  CHECK(message_of(R"({"queue":"q","body":"x","expires_ms":1699999999999})").expired);
  CHECK_FALSE(message_of(R"({"queue":"q","body":"x","expires_ms":1700000000001})").expired);
  const MessageLine lasting = message_of(R"({"queue":"q","body":"x"})");
  CHECK_FALSE(lasting.expired);
  CHECK(lasting.message.ttl == milliseconds(0));
}

TEST_CASE("settings are read into what creates the queue", "[client][cli]") {
  const auto line = read_transfer_line(
      R"({"queue":"q","settings":{"lease_ms":5000,"confirm":"leader","priority_weights":[1,2],"dedup":"replace",)"
      R"("dedup_window_ms":1000,"max_messages":7,"dead_letter":"d"}})",
      kNow);
  const auto& [queue, options] = std::get<QueueLine>(line);
  CHECK(queue == "q");
  CHECK(options.lease == milliseconds(5000));
  CHECK(options.confirm == "leader");
  CHECK(options.priority_weights == std::vector<int>{1, 2});
  CHECK(options.dedup == "replace");
  CHECK(options.dedup_window == milliseconds(1000));
  CHECK(options.max_messages == 7);
  CHECK(options.dead_letter == "d");
  CHECK(options.max_deliveries == 0);
}

TEST_CASE("a settings line leaves out what pauses a queue and what is no setting", "[client][cli]") {
  Value::Map described;
  described.emplace_back("name", Value(std::string("q")));
  described.emplace_back("ready", Value(std::int64_t{3}));
  described.emplace_back("lease_ms", Value(std::int64_t{5000}));
  described.emplace_back("pause_send", Value(true));
  CHECK(queue_line(Value(std::move(described))) == "{\"queue\":\"q\",\"settings\":{\"lease_ms\":5000}}\n");
}

TEST_CASE("what is wrong with a line is said", "[client][cli]") {
  CHECK(trouble("hello") == "malformed: it is no JSON object");
  CHECK(trouble("[1]") == "malformed: it is no JSON object");
  CHECK(trouble(R"({"queue":"q"})") == "malformed: a message has no 'body'");
  CHECK(trouble(R"({"queue":"q","body":7})") == "malformed: 'body' is no text");
  CHECK(trouble(R"({"queue":"q","body_base64":"?"})") == "malformed: 'body_base64' is no base64");
  CHECK(trouble(R"({"queue":"q","body":"x","size":2})") == "malformed: its body is cut short");
  CHECK(trouble(R"({"queue":"q","body":"x","priority":"high"})") ==
        "malformed: 'priority' has a value of a wrong type");
  CHECK(trouble(R"({"queue":"q","body":"x","headers":[]})") == "malformed: 'headers' is no object");
  CHECK(trouble(R"({"queue":"q","settings":7})") == "malformed: 'settings' is no object");
  CHECK(trouble(R"({"queue":"q","settings":{"colour":"red"}})") == "malformed: there is no setting 'colour'");
  CHECK(trouble(R"({"queue":"q","settings":{"lease_ms":"long"}})") ==
        "malformed: 'lease_ms' has a value of a wrong type");
}

}  // namespace dmq::cli
