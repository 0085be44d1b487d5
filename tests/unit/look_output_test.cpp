// What the commands make of statistics and of messages that were looked at.
#include <catch2/catch.hpp>

#include "clients/cli/browsed_output.hpp"
#include "clients/cli/queue_rows.hpp"
#include "clients/cli/top.hpp"

namespace dmq::cli {
namespace {

Value number(std::int64_t value) { return Value(Value::Data(value)); }

Value stats(const std::string& name, std::int64_t sent, std::int64_t ready, std::int64_t oldest_ms) {
  Value::Map recent{{"window_ms", number(10'000)}, {"sent", number(sent)}, {"delivered", number(0)}};
  Value::Map map{{"name", Value(Value::Data(name))},
                 {"ready", number(ready)},
                 {"bytes", number(1536)},
                 {"at_ms", number(100'000)},
                 {"recent", Value(Value::Data(std::move(recent)))}};
  if (oldest_ms != 0) map.emplace_back("oldest_ms", number(oldest_ms));
  return with_rates(Value(Value::Data(std::move(map))));
}

std::string order(std::vector<Value> rows, const std::string& by) {
  sort_stats(rows, by);
  std::string out;
  for (const Value& row : rows) out += row.text("name");
  return out;
}

BrowsedMessage message(const std::string& body, std::size_t size) {
  BrowsedMessage out;
  out.id = "1-2";
  out.state = "leased";
  out.body = body;
  out.size = size;
  out.deliveries = 1;
  out.lease_until = std::chrono::system_clock::time_point(std::chrono::milliseconds(5000));
  return out;
}

}  // namespace

TEST_CASE("rates and ages are worked out of what the broker counts", "[client][cli]") {
  const Value some = stats("a", 125, 7, 40'000);
  CHECK(std::get<double>(some.find("sent_per_s")->data()) == 12.5);
  CHECK(some.number("oldest_age_ms") == 60'000);
  CHECK(to_json(some).find("\"sent_per_s\":12.5") != std::string::npos);
  CHECK(stats("a", 0, 0, 0).find("oldest_age_ms") == nullptr);
  const Value row = stats_row(some);
  CHECK(row.text("sent/s") == "12.5");
  CHECK(row.text("oldest") == "1m");
  CHECK(row.text("size") == "1.5 KiB");
}

TEST_CASE("ages and sizes are told in units that fit", "[client][cli]") {
  CHECK(age_text(0) == "0ms");
  CHECK(age_text(999) == "999ms");
  CHECK(age_text(59'999) == "59s");
  CHECK(age_text(125'000) == "2m 5s");
  CHECK(age_text(3'600'000) == "1h");
  CHECK(age_text(86'400'000 + 3 * 3'600'000) == "1d 3h");
  CHECK(bytes_text(1023) == "1023 B");
  CHECK(bytes_text(std::int64_t{3} << 30) == "3.0 GiB");
}

TEST_CASE("queues are sorted by what is asked for, then by name", "[client][cli]") {
  const std::vector<Value> rows{stats("a", 1, 5, 0), stats("c", 9, 1, 90'000), stats("b", 1, 9, 10'000)};
  CHECK(order(rows, "rate") == "cab");
  CHECK(order(rows, "ready") == "bac");
  CHECK(order(rows, "oldest") == "bca");
  CHECK(order(rows, "name") == "abc");
  CHECK(top_line(rows) == "dmq top: 3 queues, 15 ready messages, 1.1/s sent, 0.0/s acked");
}

TEST_CASE("a body is shown as text, whole characters of it, or as bytes", "[client][cli]") {
  CHECK(json_line(message("h\xc3\xa4", 9), "q").find("\"body\":\"h\xc3\xa4\"") != std::string::npos);
  CHECK(json_line(message("h\xc3", 9), "q").find("\"body\":\"h\"") != std::string::npos);  // cut inside the second
  CHECK(json_line(message("h\xc3", 2), "q").find("\"body_base64\":\"aMM=\"") != std::string::npos);
  CHECK(json_line(message("", 0), "q").find("\"lease_until_ms\":5000,\"size\":0,\"body\":\"\"}") != std::string::npos);
  CHECK(people_text(message("a\x1b[2Jb", 6), false).find("a?[2Jb\n") != std::string::npos);
  CHECK(people_text(message("ab", 1002), false).find("(and 1,000 bytes more)") != std::string::npos);
  CHECK(browsed_row(message(std::string(100, 'x'), 100)).text("body") == std::string(60, 'x') + "...");
  CHECK(browsed_row(message("\xff", 1)).text("body") == "(no text)");
}

}  // namespace dmq::cli
