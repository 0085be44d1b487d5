// See queue_rows.hpp.
#include "clients/cli/queue_rows.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

// Rounded to tenths: more digits would mean nothing.
double rate_of(const Value& stats, std::string_view kind) {
  const Value* recent = stats.find("recent");
  if (recent == nullptr) return 0;
  const std::int64_t window = std::max<std::int64_t>(recent->number("window_ms"), 1);
  return std::round(static_cast<double>(recent->number(kind)) * 10'000 / static_cast<double>(window)) / 10;
}

std::string rate_text(const Value& stats, std::string_view key) {
  const Value* value = stats.find(key);
  const auto* rate = value == nullptr ? nullptr : std::get_if<double>(&value->data());
  char text[32];
  return {text, static_cast<std::size_t>(std::snprintf(text, sizeof text, "%.1f", rate == nullptr ? 0 : *rate))};
}

Value text(std::string value) { return Value(Value::Data(std::move(value))); }

}  // namespace

Value with_rates(const Value& stats) {
  const auto* given = std::get_if<Value::Map>(&stats.data());
  if (given == nullptr) return stats;
  Value::Map map = *given;
  for (const char* kind : {"sent", "delivered", "acked"})
    map.emplace_back(std::string(kind) + "_per_s", Value(Value::Data(rate_of(stats, kind))));
  const std::int64_t oldest = stats.number("oldest_ms");
  const std::int64_t age = std::max<std::int64_t>(stats.number("at_ms") - oldest, 0);
  if (oldest != 0) map.emplace_back("oldest_age_ms", Value(Value::Data(age)));
  return Value(Value::Data(std::move(map)));
}

Value stats_row(const Value& stats) {
  Value::Map row{{"queue", text(stats.text("name"))}};
  const auto count = [&](const char* key) {
    row.emplace_back(key, text(grouped(static_cast<std::uint64_t>(stats.number(key)))));
  };
  count("ready");
  count("leased");
  count("delayed");
  count("dead");
  row.emplace_back("oldest",
                   text(stats.find("oldest_age_ms") == nullptr ? "" : age_text(stats.number("oldest_age_ms"))));
  row.emplace_back("sent/s", text(rate_text(stats, "sent_per_s")));
  row.emplace_back("delivered/s", text(rate_text(stats, "delivered_per_s")));
  row.emplace_back("acked/s", text(rate_text(stats, "acked_per_s")));
  count("waiting");
  row.emplace_back("size", text(bytes_text(stats.number("bytes"))));
  return Value(Value::Data(std::move(row)));
}

std::vector<Value> stats_rows(const std::vector<Value>& stats) {
  std::vector<Value> rows;
  for (const Value& each : stats) rows.push_back(stats_row(each));
  return rows;
}

std::string age_text(std::int64_t ms) {
  struct Unit {
    const char* name;
    std::int64_t ms;
  };
  constexpr std::array<Unit, 4> kUnits{{{"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}}};
  if (ms < 1000) return std::to_string(ms) + "ms";
  for (std::size_t i = 0; i < kUnits.size(); ++i) {
    if (ms < kUnits[i].ms) continue;
    std::string out = std::to_string(ms / kUnits[i].ms) + kUnits[i].name;
    if (i + 1 == kUnits.size()) return out;
    const std::int64_t rest = ms % kUnits[i].ms / kUnits[i + 1].ms;
    return rest == 0 ? out : out + " " + std::to_string(rest) + kUnits[i + 1].name;
  }
  return {};
}

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  char text[32];
  const int size = std::snprintf(text, sizeof text, "%.1f %s", value, kUnits[unit]);
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace dmq::cli
