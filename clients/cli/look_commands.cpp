// See look_commands.hpp.
#include "clients/cli/look_commands.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "clients/cli/admin_client.hpp"
#include "clients/cli/browsed_output.hpp"
#include "clients/cli/message_output.hpp"
#include "clients/cli/queue_rows.hpp"
#include "clients/cli/value_table.hpp"
#include "protocol/limits.hpp"
#include "protocol/message_state.hpp"

namespace dmq::cli {
namespace {

constexpr std::uint64_t kBrowseMaxDefault = 100;
constexpr std::size_t kTableBodyBytes = 256;  // of each body that is fetched for a table, which shows less

bool for_people(const LookFlags& flags) { return !flags.json && is_terminal(STDOUT_FILENO); }

// Page by page, up to so many; each page is given to `take`. How many there were.
template <class Take>
std::uint64_t each_page(Client& client, const LookFlags& flags, BrowseOptions options, std::uint64_t most, Take take) {
  options.after = flags.after;
  if (flags.body_bytes >= 0) options.body_bytes = static_cast<std::size_t>(flags.body_bytes);
  std::uint64_t count = 0;
  do {
    options.max = static_cast<std::size_t>(std::min<std::uint64_t>(most - count, kBatchMessagesMax));
    BrowseResult page = client.browse(flags.queue, options);
    count += page.messages.size();
    take(page.messages);
    options.after = std::move(page.after);
  } while (count < most && !options.after.empty());
  return count;
}

void peek(LookFlags& flags, Client& client) {
  BrowseOptions options;
  options.as_received = true;
  const std::uint64_t most = std::max<std::uint64_t>(flags.max, 1);
  const std::uint64_t count = each_page(client, flags, options, most, [&](const auto& messages) {
    std::string out;
    for (const BrowsedMessage& message : messages) {
      out += for_people(flags) ? people_text(message, is_coloured(STDOUT_FILENO)) : json_line(message, flags.queue);
    }
    write_output(out, flags.interrupt_fd);
  });
  if (count == 0) flags.exit_code = kExitNothing;
}

void browse(const LookFlags& flags, Client& client) {
  BrowseOptions options;
  options.state = flags.state;
  const std::uint64_t most = flags.max == 0 ? kBrowseMaxDefault : flags.max;
  const bool people = for_people(flags);
  if (people) options.body_bytes = kTableBodyBytes;
  std::vector<Value> rows;
  each_page(client, flags, options, most, [&](const auto& messages) {
    std::string out;
    for (const BrowsedMessage& message : messages) {
      if (people) {
        rows.push_back(browsed_row(message));
      } else {
        out += json_line(message, flags.queue);
      }
    }
    write_output(out, flags.interrupt_fd);
  });
  if (people) print_table(rows, false);
}

void stats(const LookFlags& flags, Client& client) {
  std::vector<Value> stats;
  if (flags.queues.empty()) {
    std::vector<std::string> names;
    for (const Value& queue : client.list_queues()) names.push_back(queue.text("name"));
    stats = client.queue_stats(names);
  }
  for (const std::string& name : flags.queues) stats.push_back(client.queue_stats(name));
  for (Value& each : stats) each = with_rates(each);
  if (!for_people(flags)) return print_table(stats, true);
  if (flags.queues.size() == 1) return print_fields(stats.front(), false);
  print_table(stats_rows(stats), false);
}

// A line from the terminal; what there is of one when Ctrl-D ends it.
std::string read_answer(int interrupt_fd) {
  std::string answer;
  while (true) {
    pollfd items[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    if (::poll(items, 2, -1) < 0) continue;  // a signal
    if (items[1].revents != 0) throw ClientError({"interrupted", "interrupted", false});
    char c = 0;
    if (::read(STDIN_FILENO, &c, 1) != 1 || c == '\n') return answer;
    answer += c;
  }
}

void ask_whether(const LookFlags& flags, Client& client) {
  const Value now = client.queue_stats(flags.queue);
  const auto there = static_cast<std::uint64_t>(now.number("ready") + now.number("leased") + now.number("delayed") +
                                                now.number("dead"));
  std::cerr << "This removes all messages of queue '" << flags.queue << "' for good, " << counted(there, "message")
            << " now. Go on? [y/N] " << std::flush;
  const std::string answer = read_answer(flags.interrupt_fd);
  if (answer != "y" && answer != "Y" && answer != "yes") throw ClientError({"", "nothing was removed", false});
}

void purge(const LookFlags& flags, Client& client) {
  if (!flags.yes && is_terminal(STDIN_FILENO)) ask_whether(flags, client);
  const auto removed = admin_client(client, flags.broker, flags.admin, flags.interrupt_fd).purge_queue(flags.queue);
  if (for_people(flags)) {
    std::cout << counted(removed, "message") << " removed from queue '" << flags.queue << "'\n";
  } else {
    std::cout << "{\"name\":" << json_quoted(flags.queue) << ",\"removed\":" << removed << "}\n";
  }
}

void add_page_options(CLI::App& command, LookFlags& flags, const std::string& most) {
  add_queue_argument(command, flags.queue, "Its name");
  command.add_option("--max", flags.max, "At most so many messages (default: " + most + ")")
      ->check(CLI::Range(1, 1'000'000'000));
  command.add_option("--body-bytes", flags.body_bytes, "So much of each body at most; 0: none (default: all)")
      ->check(CLI::Range(std::int64_t{0}, static_cast<std::int64_t>(kMessageBytesMax)));
}

}  // namespace

void add_look_commands(CLI::App& queue, LookFlags& flags, ClientAction& action) {
  CLI::App& peeking =
      *add_command(queue, "peek", "Show the messages that a receive would get next, without taking them", action,
                   [&flags](Client& client) { peek(flags, client); });
  add_page_options(peeking, flags, "1");
  CLI::App& browsing =
      *add_command(queue, "browse", "Show the messages in one state, oldest first, without taking them", action,
                   [&flags](Client& client) { browse(flags, client); });
  add_page_options(browsing, flags, std::to_string(kBrowseMaxDefault));
  std::vector<std::string> states(kMessageStateNames.begin(), kMessageStateNames.end());
  browsing.add_option("--state", flags.state, "Which messages")->check(CLI::IsMember(states))->capture_default_str();
  CLI::App& telling = *add_command(queue, "stats", "What is in queues, how old it is, and how much goes through",
                                   action, [&flags](Client& client) { stats(flags, client); });
  telling.add_option("QUEUE", flags.queues, "Their names (default: all queues)");
  CLI::App& purging = *add_command(queue, "purge", "Remove all messages of a queue, and keep the queue", action,
                                   [&flags](Client& client) { purge(flags, client); });
  add_queue_argument(purging, flags.queue, "Its name");
  purging.add_flag("--yes", flags.yes, "Do it without asking");
  add_admin_option(purging, flags.admin);
}

}  // namespace dmq::cli
