// See session.hpp.
#include "clients/cli/session.hpp"

#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <map>

#include "runtime/standard_streams.hpp"

namespace dmq::cli {
namespace {

// What to try, by error code; the sentence before it comes from the broker or the library.
std::string_view advice_for(std::string_view code) {
  static const std::map<std::string_view, std::string_view> kAdvice{
      {"unreachable", "is a broker running? start one with: dmq-broker"},
      {"timeout", "the broker is slow, partly away or was stopped; look at its log, or give it more --timeout"},
      {"unavailable", "a part of the broker is away; look at its log, or give it more --timeout"},
      {"unconfirmed", "send again only if a second copy does no harm"},
      {"metad_unreachable", "is dmq-metad running there? name its endpoint with --metad or DMQ_METAD"},
      {"queue_exists", "see its settings with: dmq queue describe NAME"},
  };
  const auto found = kAdvice.find(code);
  return found == kAdvice.end() ? std::string_view() : found->second;
}

}  // namespace

void add_broker_flags(CLI::App& app, BrokerFlags& flags) {
  app.add_option("--broker", flags.broker, "Where the broker listens: host:port; several by comma")
      ->envname("DMQ_ENDPOINT")
      ->capture_default_str()
      ->type_name("ENDPOINT");
  add_duration(app, "--timeout", flags.timeout, "How long to try before giving up")->envname("DMQ_TIMEOUT");
  app.set_version_flag("--version", "0.1.0");
}

std::vector<std::string> split_endpoints(std::string_view text) {
  std::vector<std::string> endpoints;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    if (comma != 0) endpoints.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return endpoints;
}

int run_command(const char* program, int (*run)(int argc, char** argv), int argc, char** argv) {
  hold_standard_streams();
  try {
    return run(argc, argv);
  } catch (const ClientError& error) {
    return report(program, error.failure());
  } catch (const std::exception& error) {
    return report(program, {"", error.what(), false});
  }
}

void add_queue_argument(CLI::App& app, std::string& queue, const std::string& text) {
  const auto fault = [](const std::string& name) { return name.empty() ? "the queue name is empty" : ""; };
  app.add_option("QUEUE", queue, text)->required()->check(fault);
}

ClientOptions client_options(const BrokerFlags& flags, int interrupt_fd) {
  ClientOptions options;
  options.endpoints = split_endpoints(flags.broker);
  options.retry_for = std::chrono::milliseconds(flags.timeout.value);
  // At least two tries, so that one dead router of several does not use the time up.
  options.request_timeout = std::chrono::milliseconds(std::max<std::int64_t>(flags.timeout.value / 2, 1));
  options.interrupt_fd = interrupt_fd;
  return options;
}

int exit_code_for(const Failure& failure) {
  static const std::map<std::string_view, int> kCodes{
      {"unreachable", kExitUnreachable},       {"timeout", kExitUnreachable}, {"unavailable", kExitUnreachable},
      {"unconfirmed", kExitUnreachable},       {"denied", kExitDenied},       {"no_such_queue", kExitNoQueue},
      {"metad_unreachable", kExitUnreachable},
  };
  const auto found = kCodes.find(failure.code);
  return found == kCodes.end() ? kExitError : found->second;
}

int report(std::string_view program, const Failure& failure) {
  const bool coloured = is_coloured(STDERR_FILENO);
  std::cerr << (coloured ? "\033[31m" : "") << program << ':' << (coloured ? "\033[0m " : " ") << failure.message;
  const std::string_view advice = advice_for(failure.code);
  if (!advice.empty()) std::cerr << "; " << advice;
  std::cerr << std::endl;
  return exit_code_for(failure);
}

int report_output_gone(std::string_view program) {
  return report(program, {"", "cannot write to standard output", false});
}

bool is_terminal(int fd) { return ::isatty(fd) != 0; }

bool is_coloured(int fd) {
  const char* no_colour = std::getenv("NO_COLOR");
  return is_terminal(fd) && (no_colour == nullptr || *no_colour == '\0');
}

std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3; at -= 3) text.insert(at - 3, ",");
  return text;
}

std::string counted(std::uint64_t number, std::string_view noun) {
  return grouped(number) + " " + std::string(noun) + (number == 1 ? "" : "s");
}

}  // namespace dmq::cli
