// See top.hpp.
#include "clients/cli/top.hpp"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <optional>

#include "clients/cli/message_output.hpp"
#include "clients/cli/queue_rows.hpp"
#include "clients/cli/value_table.hpp"

namespace dmq::cli {
namespace {

constexpr std::size_t kRowsDefault = 20;  // of a terminal that does not tell its size
constexpr std::size_t kHeadLines = 3;     // above the rows, and the line in which the cursor waits

double number_of(const Value& stats, std::string_view key) {
  const Value* value = stats.find(key);
  if (value == nullptr) return 0;
  if (const auto* rate = std::get_if<double>(&value->data())) return *rate;
  const auto* count = std::get_if<std::int64_t>(&value->data());
  return count == nullptr ? 0 : static_cast<double>(*count);
}

double weight_of(const Value& stats, const std::string& by) {
  if (by == "ready") return number_of(stats, "ready");
  if (by == "oldest") return number_of(stats, "oldest_age_ms");
  if (by == "rate") return number_of(stats, "sent_per_s") + number_of(stats, "delivered_per_s");
  return 0;
}

std::size_t terminal_rows() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > kHeadLines;
  return known ? size.ws_row - kHeadLines : kRowsDefault;
}

// The terminal while the view is on it: another screen without a cursor, keys that come one by one. The destructor
// leaves it as it was.
class Screen {
 public:
  Screen() {
    if (::tcgetattr(STDIN_FILENO, &before_) == 0) {
      termios keys = before_;
      keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      changed_ = ::tcsetattr(STDIN_FILENO, TCSANOW, &keys) == 0;
    }
    write("\033[?1049h\033[?25l");
  }
  ~Screen() {
    write("\033[?25h\033[?1049l");
    if (changed_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

 private:
  static void write(std::string_view text) { (void)!::write(STDOUT_FILENO, text.data(), text.size()); }

  termios before_{};
  bool changed_ = false;
};

std::vector<Value> look(const TopFlags& flags, Client& client) {
  std::vector<std::string> names;
  for (const Value& queue : client.list_queues(flags.prefix)) names.push_back(queue.text("name"));
  std::vector<Value> stats = client.queue_stats(names);
  for (Value& each : stats) each = with_rates(each);
  sort_stats(stats, flags.sort);
  return stats;
}

void cut(std::vector<Value>& stats, std::uint64_t most) {
  if (stats.size() > most) stats.resize(static_cast<std::size_t>(most));
}

void write_out(std::string out, const TopFlags& flags) {
  if (!flush_output(out, flags.interrupt_fd)) throw ClientError({"", "cannot write to standard output", false});
}

// One view. What fails stands in it, since a broker may come back.
std::string view(const TopFlags& flags, Client& client) {
  std::vector<Value> stats;
  std::string head;
  try {
    stats = look(flags, client);
    head = top_line(stats);
  } catch (const ClientError& error) {
    if (error.code() == "interrupted") throw;
    head = error.failure().message;
  }
  cut(stats, flags.max == 0 ? terminal_rows() : std::min<std::uint64_t>(flags.max, terminal_rows()));
  std::string out = head + "   (q: end)\n\n" + table_text(stats_rows(stats), is_coloured(STDOUT_FILENO));
  for (std::size_t at = 0; (at = out.find('\n', at)) != std::string::npos; at += 4) out.insert(at, "\033[K");
  return "\033[H" + out + "\033[J";
}

// Waits until the next view is due. False: the user has seen enough.
bool wait_for_next(const TopFlags& flags, bool keys) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(flags.interval.value);
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return true;
    pollfd items[2] = {{flags.interrupt_fd, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(items, keys ? 2 : 1, static_cast<int>(std::min<std::int64_t>(left, 60'000))) < 0) continue;
    if (items[0].revents != 0) return false;
    if (!keys || items[1].revents == 0) continue;
    char key = 0;
    if (::read(STDIN_FILENO, &key, 1) != 1) {
      keys = false;  // it ended
    } else if (key == 'q' || key == 'Q' || key == '\x04') {
      return false;
    } else {
      return true;  // any other key: look now
    }
  }
}

void run_on_terminal(const TopFlags& flags, Client& client) {
  const Screen screen;
  do {
    write_out(view(flags, client), flags);
  } while (wait_for_next(flags, is_terminal(STDIN_FILENO)));
}

void print_json(const TopFlags& flags, Client& client) {
  std::vector<Value> stats = look(flags, client);
  if (flags.max != 0) cut(stats, flags.max);
  std::string out;
  for (const Value& each : stats) out += to_json(each) + "\n";
  write_out(std::move(out), flags);
}

}  // namespace

void sort_stats(std::vector<Value>& stats, const std::string& by) {
  std::sort(stats.begin(), stats.end(), [&by](const Value& a, const Value& b) {
    const double left = weight_of(a, by);
    const double right = weight_of(b, by);
    return left != right ? left > right : a.text("name") < b.text("name");
  });
}

std::string top_line(const std::vector<Value>& stats) {
  double sent = 0;
  double acked = 0;
  std::uint64_t ready = 0;
  for (const Value& each : stats) {
    sent += number_of(each, "sent_per_s");
    acked += number_of(each, "acked_per_s");
    ready += static_cast<std::uint64_t>(each.number("ready"));
  }
  char rates[96];
  std::snprintf(rates, sizeof rates, ", %.1f/s sent, %.1f/s acked", sent, acked);
  return "dmq top: " + counted(stats.size(), "queue") + ", " + counted(ready, "ready message") + rates;
}

void add_top_options(CLI::App& command, TopFlags& flags) {
  command.add_option("PREFIX", flags.prefix, "Only queues whose names begin so");
  add_duration(command, "--interval", flags.interval, "From one look to the next");
  command
      .add_option("--sort", flags.sort, "Which come first: those with most traffic, most ready messages, the oldest")
      ->check(CLI::IsMember({"rate", "ready", "oldest", "name"}))
      ->capture_default_str();
  command.add_option("--max", flags.max, "At most so many queues")->check(CLI::Range(1, 1'000'000));
  command.add_flag("--once", flags.once, "One look, and no more");
}

void run_top(const TopFlags& flags, bool json, Client& client) {
  const bool people = !json && is_terminal(STDOUT_FILENO);
  if (people && flags.once) {
    std::vector<Value> stats = look(flags, client);
    const std::string head = top_line(stats);
    if (flags.max != 0) cut(stats, flags.max);
    return write_out(head + "\n\n" + table_text(stats_rows(stats), is_coloured(STDOUT_FILENO)), flags);
  }
  try {
    if (people) return run_on_terminal(flags, client);
    do {
      print_json(flags, client);
    } while (!flags.once && wait_for_next(flags, false));
  } catch (const ClientError& error) {
    if (error.code() != "interrupted") throw;
  }
}

}  // namespace dmq::cli
