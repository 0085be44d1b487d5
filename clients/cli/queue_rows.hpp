// A queue's statistics with what people work out of them: rates, ages, rows of a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dmq/value.hpp"

namespace dmq::cli {

// The map that the broker gave, and in it `sent_per_s`, `delivered_per_s`, `acked_per_s` over its window, and
// `oldest_age_ms` when something is ready.
Value with_rates(const Value& stats);
// Of with_rates(): a row for people, the columns as words, counts with commas.
Value stats_row(const Value& stats);
std::vector<Value> stats_rows(const std::vector<Value>& stats);

// "350ms", "12s", "4m 5s", "3h 10m", "2d 4h".
std::string age_text(std::int64_t ms);
// "512 B", "1.5 KiB", "3.2 MiB".
std::string bytes_text(std::int64_t bytes);

}  // namespace dmq::cli
