// Bytes that somebody sent, as text for people and for JSON.
#pragma once

#include <string>
#include <string_view>

namespace dmq::cli {

// With control characters masked: a message must not steer the terminal.
std::string masked(std::string_view text, char mask);
// Text may hold control characters, which the protocol's own strings may not.
bool is_text(std::string_view body);
// "name":"text", or "name_base64":"..." of what is no text.
std::string json_bytes(std::string_view name, std::string_view bytes);

}  // namespace dmq::cli
