// See redrive_command.hpp.
#include "clients/cli/redrive_command.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <iostream>

#include "clients/cli/message_output.hpp"
#include "clients/cli/progress.hpp"
#include "clients/cli/session.hpp"
#include "clients/cli/value_table.hpp"
#include "protocol/limits.hpp"

namespace dmq::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kStepsPerSecond = 10;  // of a redrive with a rate

struct Done {
  std::int64_t revived = 0;
  std::int64_t moved = 0;
  std::int64_t sum() const { return revived + moved; }
};

std::size_t step_size(const RedriveFlags& flags, const Done& done) {
  std::size_t most = kBatchMessagesMax;
  if (flags.rate > 0) most = std::clamp<std::size_t>(static_cast<std::size_t>(flags.rate / kStepsPerSecond), 1, most);
  return flags.max == 0 ? most
                        : static_cast<std::size_t>(
                              std::min<std::uint64_t>(most, flags.max - static_cast<std::uint64_t>(done.sum())));
}

// False: a signal came.
bool wait_until(Clock::time_point time, int interrupt_fd) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now());
  if (left.count() <= 0) return true;
  pollfd interrupt{interrupt_fd, POLLIN, 0};
  return ::poll(&interrupt, 1, static_cast<int>(left.count())) == 0;
}

void print_done(const RedriveFlags& flags, const Done& done) {
  if (flags.json || !is_terminal(STDOUT_FILENO)) {
    std::cout << "{\"queue\":" << json_quoted(flags.queue) << ",\"revived\":" << done.revived
              << ",\"moved\":" << done.moved << "}\n";
  } else if (done.sum() == 0) {
    std::cout << "nothing in '" << flags.queue << "' is dead or came from another queue\n";
  } else {
    std::cout << done.revived << " dead messages are ready again, " << done.moved
              << " go back to the queues that they came from\n";
  }
}

}  // namespace

void add_redrive_options(CLI::App& command, RedriveFlags& flags) {
  command.add_option("--rate", flags.rate, "So many messages a second; default: as fast as it goes")
      ->check(CLI::Range(0.1, 1e6))
      ->type_name("N");
  command.add_option("--max", flags.max, "At most so many messages")
      ->check(CLI::Range(1, 1'000'000'000))
      ->type_name("N");
  command.add_option("--id", flags.ids, "Only these messages (dmq queue browse tells the ids); may be repeated")
      ->type_name("ID");
}

void redrive(const RedriveFlags& flags, Client& client) {
  Progress progress("redriven", true);
  RedriveOptions options;
  options.ids = flags.ids;
  Done done;
  Clock::time_point due = Clock::now();
  do {
    if (!wait_until(due, flags.interrupt_fd)) throw ClientError({"interrupted", "a signal came", false});
    options.max = step_size(flags, done);
    const Value step = client.redrive_queue(flags.queue, options);
    const Done before = done;
    done.revived += step.number("revived");
    done.moved += step.number("moved");
    options.after = step.text("next");
    if (flags.rate > 0)
      due += std::chrono::duration_cast<Clock::duration>(
          std::chrono::duration<double>(static_cast<double>(done.sum() - before.sum()) / flags.rate));
    progress.show(static_cast<std::uint64_t>(done.sum()));
  } while (!options.after.empty() && (flags.max == 0 || static_cast<std::uint64_t>(done.sum()) < flags.max));
  progress.clear();
  print_done(flags, done);
}

}  // namespace dmq::cli
