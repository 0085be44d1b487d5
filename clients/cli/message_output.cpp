// See message_output.hpp.
#include "clients/cli/message_output.hpp"

#include <cstdio>
#include <string>

#include "clients/cli/session.hpp"
#include "dmq/value.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq::cli {
namespace {

void write(std::string_view bytes) { std::fwrite(bytes.data(), 1, bytes.size(), stdout); }

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }

std::string masked(std::string_view text, char mask) {
  std::string out(text);
  for (char& c : out) {
    if (is_control(c)) c = mask;
  }
  return out;
}

// Text may hold control characters, which the protocol's own strings may not.
bool is_text(std::string_view body) {
  std::string plain(body);
  for (char& c : plain) {
    if (is_control(c) || c == '\n' || c == '\t') c = ' ';
  }
  return is_clean_utf8(plain);
}

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

std::string json_bytes(std::string_view name, std::string_view bytes) {
  if (is_text(bytes)) return json_quoted(name) + ":" + json_quoted(bytes);
  return json_quoted(std::string(name) + "_base64") + ":\"" + base64(bytes) + "\"";
}

void write_json(const Lease& message) {
  const auto sent = std::chrono::duration_cast<std::chrono::milliseconds>(message.sent_at().time_since_epoch());
  std::string line = "{\"id\":" + json_quoted(message.id()) + ",\"queue\":" + json_quoted(message.queue()) +
                     ",\"deliveries\":" + std::to_string(message.deliveries()) +
                     ",\"sent_ms\":" + std::to_string(sent.count());
  if (!message.headers().empty()) {
    line += ",\"headers\":{";
    for (const auto& header : message.headers()) {
      if (&header != &message.headers().front()) line += ",";
      line += json_bytes(header.first, header.second);
    }
    line += "}";
  }
  write(line + "," + json_bytes("body", message.body()) + "}\n");
}

void write_for_people(const Lease& message, bool coloured) {
  std::string head = "message " + std::string(message.id());
  if (message.deliveries() > 1) head += ", delivery " + std::to_string(message.deliveries());
  for (const auto& [name, value] : message.headers()) head += ", " + std::string(name) + ": " + std::string(value);
  write((coloured ? "\033[2m" : "") + masked(head, '?') + (coloured ? "\033[0m\n" : "\n"));
  if (is_text(message.body())) {
    write(masked(message.body(), '?') + "\n");
  } else {
    write("(" + counted(message.body().size(), "byte") + " that are no text; see them with --raw or --json)\n");
  }
}

}  // namespace

void write_message(const Lease& message, OutputForm form, bool coloured) {
  switch (form) {
    case OutputForm::kPeople:
      return write_for_people(message, coloured);
    case OutputForm::kJson:
      return write_json(message);
    case OutputForm::kLines:
      write(message.body());
      return write("\n");
    case OutputForm::kRaw:
      return write(message.body());
  }
}

bool flush_output() { return std::fflush(stdout) == 0 && std::ferror(stdout) == 0; }

}  // namespace dmq::cli
