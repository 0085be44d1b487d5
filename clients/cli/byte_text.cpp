// See byte_text.hpp.
#include "clients/cli/byte_text.hpp"

#include <cstdint>

#include "dmq/value.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq::cli {
namespace {

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
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

std::string json_bytes(std::string_view name, std::string_view bytes) {
  if (is_text(bytes)) return json_quoted(name) + ":" + json_quoted(bytes);
  return json_quoted(std::string(name) + "_base64") + ":\"" + base64(bytes) + "\"";
}

}  // namespace dmq::cli
