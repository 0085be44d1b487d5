// Points in time as people write them.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace dmq::cli {

// "2026-12-24T18:00:00Z", "2026-12-24 18:00" (the time of this machine's zone), "...+01:00", with or without seconds
// and milliseconds. Empty: it is none of these.
std::optional<std::chrono::system_clock::time_point> parse_time(const std::string& text);

}  // namespace dmq::cli
