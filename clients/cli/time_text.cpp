// See time_text.hpp.
#include "clients/cli/time_text.hpp"

#include <cctype>
#include <cstdlib>
#include <ctime>
#include <regex>

namespace dmq::cli {
namespace {

using std::chrono::system_clock;

// As timegm() and mktime() would, but a date that is none, as 31 February, is refused.
std::optional<std::time_t> seconds_of(const std::tm& wanted, bool utc) {
  std::tm made = wanted;
  const std::time_t seconds = utc ? ::timegm(&made) : std::mktime(&made);
  const bool same = made.tm_year == wanted.tm_year && made.tm_mon == wanted.tm_mon && made.tm_mday == wanted.tm_mday &&
                    made.tm_min == wanted.tm_min && made.tm_sec == wanted.tm_sec;
  return same ? std::optional(seconds) : std::nullopt;  // the hour may differ where summer time begins
}

}  // namespace

std::optional<system_clock::time_point> parse_time(const std::string& text) {
  static const std::regex kForm(
      R"((\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,3}))?)?\s*(Z|[+-]\d\d:?\d\d)?)",
      std::regex::ECMAScript | std::regex::icase);
  std::smatch part;
  if (!std::regex_match(text, part, kForm)) return std::nullopt;
  const auto number = [&](std::size_t i) { return part[i].matched ? std::atoi(part[i].str().c_str()) : 0; };
  std::tm wanted{};
  wanted.tm_year = number(1) - 1900;
  wanted.tm_mon = number(2) - 1;
  wanted.tm_mday = number(3);
  wanted.tm_hour = number(4);
  wanted.tm_min = number(5);
  wanted.tm_sec = number(6);
  wanted.tm_isdst = -1;
  const std::string zone = part[8].str();
  const auto seconds = seconds_of(wanted, !zone.empty());
  if (!seconds || wanted.tm_hour > 23) return std::nullopt;
  int east = 0;  // seconds
  if (zone.size() > 1) {
    const int hours = std::atoi(zone.substr(1, 2).c_str());
    const int minutes = std::atoi(zone.substr(zone.size() - 2).c_str());
    east = (hours * 3600 + minutes * 60) * (zone.front() == '-' ? -1 : 1);
  }
  std::string fraction = part[7].str();
  fraction.resize(3, '0');
  const int milliseconds = part[7].matched ? std::atoi(fraction.c_str()) : 0;
  return system_clock::from_time_t(*seconds - east) + std::chrono::milliseconds(milliseconds);
}

}  // namespace dmq::cli
