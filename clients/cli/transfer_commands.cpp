// See transfer_commands.hpp.
#include "clients/cli/transfer_commands.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <iostream>

#include "clients/cli/browsed_output.hpp"
#include "clients/cli/message_input.hpp"
#include "clients/cli/message_output.hpp"
#include "clients/cli/progress.hpp"
#include "clients/cli/transfer_format.hpp"
#include "protocol/limits.hpp"

namespace dmq::cli {
namespace {

constexpr std::size_t kLineBytesMax = 8 * kMessageBytesMax;  // of a body whose bytes are all written as \u0001
constexpr const char* kPacked = "msgpack";                   // the format that is not JSON
constexpr std::array<const char*, 4> kStates{"ready", "delayed", "leased", "dead"};

// The messages of a queue in one state, page by page.
class Cursor {
 public:
  Cursor(Client& client, const std::string& queue, const char* state) : client_(client), queue_(queue) {
    options_.state = state;
    turn_page();
  }
  const BrowsedMessage* front() const { return next_ == page_.messages.size() ? nullptr : &page_.messages[next_]; }
  void pop() {
    if (++next_ == page_.messages.size() && !page_.after.empty()) turn_page();
  }

 private:
  void turn_page() {
    do {
      page_ = client_.browse(queue_, options_);
      options_.after = page_.after;
    } while (page_.messages.empty() && !page_.after.empty());
    next_ = 0;
  }

  Client& client_;
  const std::string& queue_;
  BrowseOptions options_;
  BrowseResult page_;
  std::size_t next_ = 0;
};

// In the order in which they were sent, whatever state they are in.
std::uint64_t export_messages(const TransferFlags& flags, Client& client, const std::string& queue,
                              std::uint64_t before, Progress& progress) {
  std::vector<Cursor> cursors;
  for (const char* state : kStates) cursors.emplace_back(client, queue, state);
  std::string out;
  std::uint64_t count = 0;
  while (true) {
    Cursor* first = nullptr;
    for (Cursor& cursor : cursors) {
      if (cursor.front() == nullptr) continue;
      if (first == nullptr || cursor.front()->sent_at < first->front()->sent_at) first = &cursor;
    }
    if (first == nullptr) break;
    std::string line = json_line(*first->front(), queue);
    out += flags.format == kPacked ? packed_line(line) : line;
    first->pop();
    ++count;
    if (out.size() > (1 << 20)) write_output(out, flags.interrupt_fd);
    progress.show(before + count);
  }
  write_output(out, flags.interrupt_fd);
  return count;
}

void export_queues(const TransferFlags& flags, Client& client) {
  if (flags.format == kPacked && is_terminal(STDOUT_FILENO)) {
    throw ClientError({"invalid_argument", "MessagePack is not for a terminal; write it to a file or a pipe", false});
  }
  std::vector<Value> queues;
  if (flags.queues.empty()) queues = client.list_queues();
  for (const std::string& name : flags.queues) queues.push_back(client.describe_queue(name));
  Progress progress("exported", !flags.quiet);
  std::uint64_t count = 0;
  for (const Value& queue : queues) {
    std::string line = queue_line(queue);
    if (flags.format == kPacked) line = packed_line(line);
    write_output(line, flags.interrupt_fd);
    count += export_messages(flags, client, queue.text("name"), count, progress);
  }
  progress.clear();
  if (flags.quiet) return;
  std::cerr << counted(count, "message") << " of " << counted(queues.size(), "queue") << " exported\n";
}

class Import {
 public:
  Import(const TransferFlags& flags, Client& client)
      : flags_(flags), client_(client), progress_("imported", !flags.quiet) {}

  void run(int fd) {
    MessageInput input(
        fd, [this, fd] { return wait_for_input(fd); }, kLineBytesMax);
    is_packed_ = begins_packed(input.peek().value_or('{'));
    while (const auto line = next_line(input)) {
      ++line_;
      if (line->empty()) continue;
      take(*line);
      if (failure_) break;
      progress_.show(confirmed_);
    }
    client_.flush();
    progress_.clear();
    if (failure_) {
      fail(failed_line_, *failure_, "perhaps some of those behind it among them");
    }
    if (flags_.quiet) return;
    std::cerr << counted(confirmed_, "message") << " of " << counted(queues_, "queue") << " imported";
    if (expired_ > 0) std::cerr << "; " << counted(expired_, "message") << " had expired";
    if (skipped_ > 0) std::cerr << "; " << counted(skipped_, "dead message") << " left out";
    if (revived_ > 0) std::cerr << "; " << counted(revived_, "message") << " that were dead are ready again";
    std::cerr << "\n";
  }

 private:
  std::optional<std::string_view> next_line(MessageInput& input) {
    try {
      return is_packed_ ? input.next_value() : input.next('\n');
    } catch (const ClientError& error) {
      if (error.failure().code == "interrupted") throw;
      ++line_;
      fail(line_, error.failure(), "all before that " + unit());
    }
  }

  std::string unit() const { return is_packed_ ? "entry" : "line"; }

  [[noreturn]] void fail(std::uint64_t line, const Failure& failure, const std::string& more) {
    if (client_.unconfirmed() > 0) client_.flush();
    progress_.clear();
    throw ClientError({failure.code,
                       unit() + " " + std::to_string(line) + ": " + failure.message + "; " +
                           counted(confirmed_, "message") + " imported, " + more,
                       failure.retry});
  }

  void take(std::string_view text) {
    try {
      const auto now = std::chrono::system_clock::now();
      const auto line = is_packed_ ? read_packed_line(text, now) : read_transfer_line(text, now);
      if (const auto* queue = std::get_if<QueueLine>(&line)) {
        take_queue(*queue);
      } else {
        take_message(std::get<MessageLine>(line));
      }
    } catch (const ClientError& error) {
      if (error.failure().code == "interrupted") throw;
      fail(line_, error.failure(), "all before that " + unit());
    }
  }

  void take_queue(const QueueLine& line) {
    ++queues_;
    if (!flags_.to.empty()) return;
    try {
      client_.create_queue(line.queue, line.options);
    } catch (const ClientError& error) {
      if (error.failure().code != "queue_exists") throw;
      progress_.clear();
      std::cerr << "dmq: queue '" << line.queue << "' is there with other settings, which it keeps\n";
    }
  }

  void take_message(const MessageLine& line) {
    if (line.expired) {
      ++expired_;
    } else if (line.dead && flags_.skip_dead) {
      ++skipped_;
    } else {
      if (line.dead) ++revived_;
      client_.send_async(flags_.to.empty() ? line.queue : flags_.to, line.message,
                         [this, number = line_](const SendResult& result) { note(result, number); });
    }
  }

  void note(const SendResult& result, std::uint64_t line) {
    if (result) {
      ++confirmed_;
    } else if (!failure_) {
      failure_ = result.failure;
      failed_line_ = line;
    }
  }

  bool wait_for_input(int fd) {
    return await_input(fd, flags_.interrupt_fd, client_, [this] { return !failure_; });
  }

  const TransferFlags& flags_;
  Client& client_;
  Progress progress_;
  bool is_packed_ = false;  // MessagePack, not JSON
  std::uint64_t line_ = 0;
  std::uint64_t queues_ = 0;
  std::uint64_t confirmed_ = 0;
  std::uint64_t expired_ = 0;
  std::uint64_t skipped_ = 0;
  std::uint64_t revived_ = 0;
  std::optional<Failure> failure_;
  std::uint64_t failed_line_ = 0;
};

void import_queues(const TransferFlags& flags, Client& client) {
  int fd = STDIN_FILENO;
  if (!flags.file.empty() && flags.file != "-") fd = ::open(flags.file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw ClientError({"", "cannot read " + flags.file + ": " + std::strerror(errno), false});
  Import(flags, client).run(fd);
  if (fd != STDIN_FILENO) ::close(fd);
}

}  // namespace

void add_transfer_commands(CLI::App& app, TransferFlags& flags, ClientAction& action) {
  CLI::App& exporting =
      *add_command(app, "export", "Write queues, settings and messages as lines of JSON or as MessagePack", action,
                   [&](Client& client) { export_queues(flags, client); });
  exporting.footer(
      "Messages stay where they are. Whatever changes meanwhile may be in the output or not: for an exact copy pause\n"
      "the queue first. Examples:\n"
      "  dmq export orders > orders.jsonl\n"
      "  dmq export --format msgpack orders > orders.msgpack     smaller; bodies are bytes as they are\n"
      "  dmq export --broker old:7310 | dmq import --broker new:7310");
  exporting.add_option("QUEUE", flags.queues, "The queues; without one, all");
  exporting
      .add_option("--format", flags.format, "json: a line for each; msgpack: a map for each, one behind the other")
      ->check(CLI::IsMember({"json", kPacked}))
      ->capture_default_str();
  exporting.add_flag("-q,--quiet", flags.quiet, "No progress and no summary");
  CLI::App& importing = *add_command(app, "import", "Create queues and send messages as dmq export wrote them", action,
                                     [&](Client& client) { import_queues(flags, client); });
  importing.footer(
      "Messages keep priority, key, headers, the time from which they may be received and that when they expire; they\n"
      "get new ids and count their deliveries anew. Queues that are there keep their settings. JSON and MessagePack "
      "are\n"
      "told apart by themselves. An import that stops says at which line or entry. Examples:\n"
      "  dmq import orders.jsonl\n"
      "  dmq import --to orders.copy orders.jsonl");
  importing.add_option("FILE", flags.file, "What dmq export wrote; without it, standard input");
  importing.add_option("--to", flags.to, "This queue takes all the messages");
  importing.add_flag("--skip-dead", flags.skip_dead,
                     "Leave out messages that were dead; without it they are ready again");
  importing.add_flag("-q,--quiet", flags.quiet, "No progress and no summary");
}

}  // namespace dmq::cli
