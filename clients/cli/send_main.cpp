// dmq-send: puts messages into a queue, from an argument or from standard input.
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "clients/cli/interrupt.hpp"
#include "clients/cli/message_input.hpp"
#include "clients/cli/pacer.hpp"
#include "clients/cli/progress.hpp"
#include "clients/cli/send_flags.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/time_text.hpp"

namespace dmq::cli {
namespace {

constexpr const char* kProgram = "dmq-send";

struct Tally {
  std::uint64_t confirmed = 0;
  std::uint64_t duplicates = 0;  // of those
  std::uint64_t failed = 0;
  std::optional<Failure> first_failure;
  void note(const SendResult& result) {
    if (result) {
      ++confirmed;
      if (result.duplicate) ++duplicates;
      return;
    }
    ++failed;
    if (!first_failure) first_failure = result.failure;
  }
};

// "name:value" or "name=value", whichever sign comes first.
std::pair<std::string, std::string> parse_header(const std::string& text) {
  const std::size_t at = text.find_first_of(":=");
  if (at == std::string::npos || at == 0) {
    throw CLI::ValidationError("-H", "'" + text + "' is not name:value or name=value");
  }
  return {text.substr(0, at), text.substr(at + 1)};
}

OutgoingMessage message_of(const SendFlags& flags, bool delayed) {
  OutgoingMessage message = flags.message;
  for (const std::string& header : flags.headers) message.headers.push_back(parse_header(header));
  if (delayed) message.delay = std::chrono::milliseconds(flags.delay.value);
  if (flags.ttl.value >= 0) message.ttl = std::chrono::milliseconds(flags.ttl.value);
  if (flags.at.empty()) return message;
  message.deliver_at = parse_time(flags.at);
  if (!message.deliver_at) {
    throw CLI::ValidationError("--at", "'" + flags.at + "' is no time; write it like '2026-12-24 18:00' (of this " +
                                           "machine's zone) or 2026-12-24T17:00:00Z");
  }
  return message;
}

char parse_delimiter(const std::string& text) {
  if (text.empty() || text == "\\n") return '\n';
  if (text == "\\0") return '\0';
  if (text == "\\t") return '\t';
  if (text.size() != 1) throw CLI::ValidationError("--delimiter", "give one character, or \\n, \\t or \\0");
  return text.front();
}

bool is_plain(const OutgoingMessage& message) {
  return message.headers.empty() && message.priority == 0 && !message.delay && !message.deliver_at && !message.ttl &&
         message.content_type.empty() && message.reply_to.empty() && message.correlation_id.empty() &&
         message.traceparent.empty() && message.key.empty() && message.dedup_id.empty();
}

class Sender {
 public:
  Sender(const SendFlags& flags, const Interrupt& interrupt, OutgoingMessage message)
      : flags_(flags),
        client_(options_for(flags, interrupt)),
        message_(std::move(message)),
        plain_(is_plain(message_)),
        interrupt_fd_(interrupt.fd()),
        pacer_(flags.rate, std::chrono::steady_clock::now()),
        progress_("sent", !flags.quiet) {}

  void run() {
    MessageInput input(STDIN_FILENO, [this] { return wait_for_input(); });
    if (flags_.lines || !flags_.delimiter.empty()) {
      const char delimiter = parse_delimiter(flags_.delimiter);
      const std::uint64_t most = flags_.count == 0 ? UINT64_MAX : flags_.count;
      for (std::uint64_t i = 0; i < most && !tally_.first_failure; ++i) {
        const auto body = input.next(delimiter);
        if (!body) break;
        send(*body);
      }
    } else {
      if (!flags_.body && is_terminal(STDIN_FILENO)) std::cerr << "type the message, end it with Ctrl-D\n";
      const std::string body = flags_.body ? *flags_.body : std::string(input.whole());
      for (std::uint64_t i = 0; i < std::max<std::uint64_t>(flags_.count, 1) && !tally_.first_failure; ++i) send(body);
    }
    client_.flush(std::chrono::milliseconds(flags_.broker.timeout.value + 5000));
    progress_.clear();
  }

  const Tally& tally() const { return tally_; }
  std::size_t unconfirmed() const { return client_.unconfirmed(); }

 private:
  static ClientOptions options_for(const SendFlags& flags, const Interrupt& interrupt) {
    ClientOptions options = client_options(flags.broker, interrupt.fd());
    options.window = flags.window;
    return options;
  }

  void send(std::string_view body) {
    keep_pace();
    const auto note = [this](const SendResult& result) { tally_.note(result); };
    if (plain_) {
      client_.send_async(flags_.queue, body, note);
    } else {
      message_.body = body;
      client_.send_async(flags_.queue, message_, note);
    }
    progress_.show(tally_.confirmed);
  }

  // Confirmations are read meanwhile.
  void keep_pace() {
    using std::chrono::milliseconds;
    using std::chrono::steady_clock;
    for (auto now = steady_clock::now(); now < pacer_.due() && !tally_.first_failure; now = steady_clock::now()) {
      client_.poll(std::min(std::chrono::ceil<milliseconds>(pacer_.due() - now), milliseconds(200)));
      progress_.show(tally_.confirmed);
    }
    pacer_.on_sent(steady_clock::now());
  }

  bool wait_for_input() {
    return await_input(STDIN_FILENO, interrupt_fd_, client_, [this] {
      progress_.show(tally_.confirmed);
      return !tally_.first_failure;
    });
  }

  const SendFlags& flags_;
  Tally tally_;  // before the client, whose destructor may still call back
  Client client_;
  OutgoingMessage message_;
  bool plain_;  // a body alone
  int interrupt_fd_;
  Pacer pacer_;
  Progress progress_;
};

int finish(const SendFlags& flags, const Tally& tally, std::size_t unconfirmed, std::optional<Failure> failure) {
  if (!failure) failure = tally.first_failure;
  const bool by_id = !flags.message.dedup_id.empty();
  if (flags.json) {
    std::cout << "{\"queue\":" << json_quoted(flags.queue) << ",\"sent\":" << tally.confirmed
              << ",\"failed\":" << tally.failed << ",\"unconfirmed\":" << unconfirmed;
    if (by_id) std::cout << ",\"duplicates\":" << tally.duplicates;
    if (failure) std::cout << ",\"error\":" << json_quoted(failure->code);
    std::cout << "}" << std::endl;
    if (!std::cout) report_output_gone(kProgram);  // what was sent stays sent: the exit code says how that went
  }
  if (!failure) {
    if (is_terminal(STDERR_FILENO) && !flags.quiet) {
      std::cerr << counted(tally.confirmed, "message") << " sent to '" << flags.queue << "'"
                << (by_id && tally.duplicates > 0 ? ", not taken for its dedup id: " + grouped(tally.duplicates) : "")
                << "\n";
    }
    return kExitOk;
  }
  const int code = report(kProgram, *failure);
  if (tally.confirmed == 0) return code;
  std::cerr << kProgram << ": " << counted(tally.confirmed, "message") << " confirmed before that, "
            << grouped(tally.failed + unconfirmed) << " not\n";
  return kExitPartly;
}

int run(int argc, char** argv) {
  const Interrupt interrupt;
  SendFlags flags;
  CLI::App app{"", kProgram};
  add_send_flags(app, flags);
  if (const auto code = parse_flags(app, argc, argv)) return *code;
  OutgoingMessage message;
  try {
    parse_delimiter(flags.delimiter);
    message = message_of(flags, app.count("--delay") > 0);
  } catch (const CLI::Error& error) {
    std::cerr << kProgram << ": " << error.what() << "\n";
    return kExitUsage;
  }
  if (flags.body && (flags.lines || !flags.delimiter.empty())) {
    std::cerr << kProgram << ": BODY and --lines exclude each other: lines come from standard input\n";
    return kExitUsage;
  }
  std::optional<Sender> sender;
  try {
    sender.emplace(flags, interrupt, std::move(message));
    sender->run();
  } catch (const ClientError& error) {
    return finish(flags, sender ? sender->tally() : Tally{}, sender ? sender->unconfirmed() : 0, error.failure());
  }
  return finish(flags, sender->tally(), sender->unconfirmed(), std::nullopt);
}

}  // namespace
}  // namespace dmq::cli

int main(int argc, char** argv) { return dmq::cli::run_command(dmq::cli::kProgram, dmq::cli::run, argc, argv); }
