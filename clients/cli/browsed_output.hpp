// Messages that were looked at, on standard output: whole for people, as rows of a table, or as JSON lines.
#pragma once

#include <string>

#include "dmq/browse.hpp"
#include "dmq/value.hpp"

namespace dmq::cli {

// "id", what the state has, and the body or as much as there is of it; a line. What is no UTF-8 is "body_base64".
std::string json_line(const BrowsedMessage& message, const std::string& queue);
// A line about the message, dimmed when `coloured`, and then its body. Control characters are masked.
std::string people_text(const BrowsedMessage& message, bool coloured);
// For a table: one line, with the beginning of the body.
Value browsed_row(const BrowsedMessage& message);

}  // namespace dmq::cli
