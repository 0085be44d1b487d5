// See byte_text.hpp.
#include "clients/cli/byte_text.hpp"

#include <cstdint>

#include "dmq/value.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq::cli {
namespace {

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string base64(std::string_view bytes) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t left = std::min<std::size_t>(bytes.size() - i, 3);
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 3; ++j) group = group << 8 | (j < left ? static_cast<unsigned char>(bytes[i + j]) : 0);
    for (std::size_t j = 0; j < 4; ++j) out += j <= left ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

}  // namespace

std::string masked(std::string_view text, char mask) {
  std::string out(text);
  for (char& c : out) {
    if (is_control(c)) c = mask;
  }
  return out;
}

bool is_text(std::string_view body) {
  std::string plain(body);
  for (char& c : plain) {
    if (is_control(c) || c == '\n' || c == '\t') c = ' ';
  }
  return is_clean_utf8(plain);
}

std::optional<std::string> from_base64(std::string_view text) {
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  out.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 4; ++j) {
      const std::size_t digit = j + padding >= text.size() ? 0 : kDigits.find(text[j]);
      if (digit == std::string_view::npos) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(digit);
    }
    for (std::size_t j = 0; j < 3; ++j) out += static_cast<char>(group >> (16 - 8 * j));
  }
  out.resize(out.size() - padding);
  return base64(out) == text ? std::optional(out) : std::nullopt;  // bits that stand for nothing are no good
}

std::string json_bytes(std::string_view name, std::string_view bytes) {
  if (is_text(bytes) && !name.ends_with(kBase64Suffix)) return json_quoted(name) + ":" + json_quoted(bytes);
  return json_quoted(std::string(name) + std::string(kBase64Suffix)) + ":\"" + base64(bytes) + "\"";
}

}  // namespace dmq::cli
