// Bytes that somebody sent, as text for people and for JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dmq::cli {

// With control characters masked: a message must not steer the terminal.
std::string masked(std::string_view text, char mask);
// Text may hold control characters, which the protocol's own strings may not.
bool is_text(std::string_view body);
inline constexpr std::string_view kBase64Suffix = "_base64";
std::optional<std::string> from_base64(std::string_view text);  // empty: it is none
// "name":"text", or "name_base64":"..." of what is no text, or where `name` itself ends so.
std::string json_bytes(std::string_view name, std::string_view bytes);

}  // namespace dmq::cli
