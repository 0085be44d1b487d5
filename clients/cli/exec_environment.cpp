// See exec_environment.hpp.
#include "clients/cli/exec_environment.hpp"

#include <algorithm>
#include <array>
#include <chrono>

#include "clients/cli/message_output.hpp"

namespace dmq::cli {
namespace {

constexpr std::string_view kHeaderPrefix = "DMQ_HEADER_";
constexpr std::array<std::string_view, 12> kNames{
    "DMQ_MESSAGE_ID",   "DMQ_QUEUE",    "DMQ_DELIVERIES",     "DMQ_SENT_MS",     "DMQ_PRIORITY", "DMQ_EXPIRES_MS",
    "DMQ_CONTENT_TYPE", "DMQ_REPLY_TO", "DMQ_CORRELATION_ID", "DMQ_TRACEPARENT", "DMQ_HEADERS",  "DMQ_ENDPOINT"};

// Set here, or left from a message whose command started this program.
bool is_ours(std::string_view variable) {
  const std::string_view name = variable.substr(0, variable.find('='));
  return name.starts_with(kHeaderPrefix) || std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

std::string header_variable(std::string_view name) {
  std::string variable(kHeaderPrefix);
  for (const char c : name) {
    const bool lower = c >= 'a' && c <= 'z';
    const bool other = (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    variable += lower ? static_cast<char>(c - 'a' + 'A') : other ? c : '_';
  }
  return variable;
}

std::string ms_text(std::chrono::system_clock::time_point time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count());
}

}  // namespace

std::vector<std::string> exec_environment(const Lease& message, std::string_view endpoints,
                                          const char* const* inherited) {
  std::vector<std::string> variables;
  for (; *inherited != nullptr; ++inherited) {
    if (!is_ours(*inherited)) variables.emplace_back(*inherited);
  }
  const auto add = [&](std::string_view name, std::string_view value) {
    const std::string start = std::string(name) + "=";
    const auto has_it = [&](const std::string& variable) { return variable.starts_with(start); };
    if (value.find('\0') != std::string_view::npos) return;
    if (std::none_of(variables.begin(), variables.end(), has_it)) variables.push_back(start + std::string(value));
  };
  const auto add_given = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) add(name, value);
  };
  add("DMQ_ENDPOINT", endpoints);
  add("DMQ_MESSAGE_ID", message.id());
  add("DMQ_QUEUE", message.queue());
  add("DMQ_DELIVERIES", std::to_string(message.deliveries()));
  add("DMQ_SENT_MS", ms_text(message.sent_at()));
  add("DMQ_PRIORITY", std::to_string(message.priority()));
  if (const auto expires = message.expires_at()) add("DMQ_EXPIRES_MS", ms_text(*expires));
  add_given("DMQ_CONTENT_TYPE", message.content_type());
  add_given("DMQ_REPLY_TO", message.reply_to());
  add_given("DMQ_CORRELATION_ID", message.correlation_id());
  add_given("DMQ_TRACEPARENT", message.traceparent());
  add_given("DMQ_KEY", message.key());
  if (message.headers().empty()) return variables;
  add("DMQ_HEADERS", headers_json(message));
  for (const auto& [name, value] : message.headers()) add(header_variable(name), value);
  return variables;
}

}  // namespace dmq::cli
