// dmq-recv: takes messages out of a queue and writes them to standard output.
#include <unistd.h>

#include <chrono>
#include <deque>
#include <iostream>

#include "clients/cli/interrupt.hpp"
#include "clients/cli/message_output.hpp"
#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kProgram = "dmq-recv";
constexpr const char* kExamples = R"(
Examples:
  dmq-recv jobs                             one message, if there is one now
  dmq-recv --wait 10s jobs                  one message, waiting for it
  dmq-recv --count 100 --lines jobs         up to 100 bodies, one a line
  dmq-recv --follow jobs | jq .body         all messages as they come, as JSON lines
  dmq-recv --ack none --count 5 jobs        look at five messages and give them back
  dmq-recv --raw jobs > cat.png             the bare bytes of one message

On a terminal messages are shown for people; in a pipe they are JSON lines unless --lines or --raw is given.
Ctrl-C gives back at once what is not acked. With --ack auto a message is removed once it is written and flushed: what
then happens in a pipe is up to the reader.
Exit codes: 0 received, 1 error, 2 usage, 3 nothing there, 4 broker unreachable, 5 denied, 6 no such queue.)";

constexpr milliseconds kSlice{1000};      // of a long wait; how long Ctrl-C may wait for a receive under way
constexpr milliseconds kCloseWait{1500};  // longer than a slice, so that what it brings goes back
constexpr std::int64_t kWaitMsLimit = std::int64_t{100} * 365 * 24 * 3600 * 1000;  // what clocks can add
constexpr std::size_t kBatch = 100;

struct Flags {
  BrokerFlags broker;
  std::string queue;
  std::uint64_t count = 0;
  DurationMs wait{0};
  DurationMs lease{0};
  bool follow = false;
  bool lines = false;
  bool json = false;
  bool raw = false;
  std::string ack = "auto";
};

OutputForm form_of(const Flags& flags) {
  if (flags.lines) return OutputForm::kLines;
  if (flags.raw) return OutputForm::kRaw;
  return flags.json || !is_terminal(STDOUT_FILENO) ? OutputForm::kJson : OutputForm::kPeople;
}

class Receiver {
 public:
  Receiver(const Flags& flags, const Interrupt& interrupt, Client& client)
      : flags_(flags), interrupt_fd_(interrupt.fd()), client_(client), form_(form_of(flags)) {}

  // Until the count is reached, nothing came in time, or the output is gone.
  void run() {
    const std::uint64_t most = flags_.follow ? UINT64_MAX : std::max<std::uint64_t>(flags_.count, 1);
    while (received_ < most && !output_gone_) {
      std::vector<Lease> batch = wait_for_batch(std::min<std::uint64_t>(most - received_, kBatch));
      if (batch.empty()) break;
      for (const Lease& message : batch) write_message(output_, message, form_, coloured_);
      output_gone_ = !flush_output(output_, interrupt_fd_);
      if (output_gone_) return;  // the batch goes back
      received_ += batch.size();
      keep_or_ack(std::move(batch));
    }
    if (flags_.ack == "after" && !output_gone_) {
      for (auto& batch : kept_) client_.ack_async(batch);
    }
    kept_.clear();
    client_.flush(milliseconds(flags_.broker.timeout.value + 1000));
  }

  std::uint64_t received() const { return received_; }
  bool output_gone() const { return output_gone_; }

 private:
  std::vector<Lease> wait_for_batch(std::uint64_t most) {
    const auto until = steady_clock::now() + milliseconds(std::min(flags_.wait.value, kWaitMsLimit));
    ReceiveOptions options;
    options.max = most;
    options.lease = milliseconds(flags_.lease.value);
    while (true) {
      const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
      options.wait = flags_.follow ? kSlice : std::clamp(left, milliseconds(0), kSlice);
      std::vector<Lease> batch = client_.receive(flags_.queue, options);
      renew_kept();
      if (!batch.empty() || (!flags_.follow && left <= kSlice)) return batch;
    }
  }

  void keep_or_ack(std::vector<Lease> batch) {
    if (flags_.ack == "auto") {
      client_.ack_async(batch);
    } else {
      kept_.push_back(std::move(batch));
    }
  }

  // What is kept to the end must not run out meanwhile.
  void renew_kept() {
    const milliseconds lease(flags_.lease.value != 0 ? flags_.lease.value : 30'000);
    const auto now = steady_clock::now();
    if (now < renew_at_) return;
    renew_at_ = now + lease / 3;
    for (auto& batch : kept_) client_.extend(batch, lease);
  }

  const Flags& flags_;
  int interrupt_fd_;
  Client& client_;
  OutputForm form_;
  std::string output_;  // of one batch
  bool coloured_ = is_coloured(STDOUT_FILENO);
  std::uint64_t received_ = 0;
  bool output_gone_ = false;
  std::deque<std::vector<Lease>> kept_;
  steady_clock::time_point renew_at_ = steady_clock::now() + milliseconds(1000);
};

int receive(const Flags& flags, const Interrupt& interrupt) {
  Client client(client_options(flags.broker, interrupt.fd()));
  std::uint64_t received = 0;
  bool output_gone = false;
  std::optional<Failure> failure;
  {
    Receiver receiver(flags, interrupt, client);
    try {
      receiver.run();
    } catch (const ClientError& error) {
      failure = error.failure();
    }
    received = receiver.received();
    output_gone = receiver.output_gone();
  }  // leases that are left go back here
  client.close(kCloseWait);
  if (failure && failure->code == "interrupted") {
    if (flags.follow) return kExitOk;
  } else if (failure) {
    return report(kProgram, *failure);
  }
  if (output_gone) {
    std::cerr << kProgram << ": cannot write to standard output; the messages not yet written went back\n";
    return kExitError;
  }
  return received == 0 ? kExitNothing : kExitOk;
}

int run(int argc, char** argv) {
  const Interrupt interrupt;
  Flags flags;
  CLI::App app{"Receives messages from a dmq queue, one unless --count or --follow says otherwise.", kProgram};
  app.footer(kExamples);
  add_queue_argument(app, flags.queue, "The queue");
  auto* count = app.add_option("--count", flags.count, "At most so many messages")->check(CLI::Range(1, 1'000'000'000));
  add_duration(app, "--wait", flags.wait, "How long to wait for each next message");
  auto* follow = app.add_flag("--follow", flags.follow, "Go on until Ctrl-C")->excludes(count);
  auto* lines = app.add_flag("--lines", flags.lines, "Write each body and a newline");
  auto* json = app.add_flag("--json", flags.json, "Write each message as one line of JSON")->excludes(lines);
  app.add_flag("--raw", flags.raw, "Write the bare bodies, nothing between them")->excludes(lines)->excludes(json);
  app.add_option("--ack", flags.ack, "auto: remove what was written; after: all at the end; none: give all back")
      ->check(CLI::IsMember({"auto", "after", "none"}))
      ->capture_default_str();
  add_duration(app, "--lease", flags.lease, "How long others do not get the messages; 0s: as the queue says");
  add_broker_flags(app, flags.broker);
  if (const auto code = parse_flags(app, argc, argv)) return *code;
  if (*follow && flags.ack != "auto") {
    std::cerr << kProgram << ": --follow never comes to an end, so only --ack auto fits\n";
    return kExitUsage;
  }
  return receive(flags, interrupt);
}

}  // namespace
}  // namespace dmq::cli

int main(int argc, char** argv) { return dmq::cli::run_command(dmq::cli::kProgram, dmq::cli::run, argc, argv); }
