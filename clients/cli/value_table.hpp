// Values for people: one as a list of fields, many as a table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dmq/value.hpp"

namespace dmq::cli {

// "key  value" a line; members of inner maps are indented. Keys are what the broker gave, so that new ones show up.
std::string fields_text(const Value& value);
// One row each, the columns in the order in which keys first occur; "" without rows.
std::string table_text(const std::vector<Value>& rows, bool coloured);

// "2026-12-24 18:00:00" in this machine's zone.
std::string time_text(std::int64_t ms);

// On standard output: for people when that is a terminal, else or with `json` as JSON lines.
void print_fields(const Value& value, bool json);
void print_table(const std::vector<Value>& rows, bool json);

}  // namespace dmq::cli
