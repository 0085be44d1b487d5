// dmq-recv: takes messages out of a queue and writes them to standard output, or runs a command for each.
#include <unistd.h>

#include <chrono>
#include <deque>
#include <iostream>

#include "clients/cli/exec_command.hpp"
#include "clients/cli/exec_loop.hpp"
#include "clients/cli/interrupt.hpp"
#include "clients/cli/message_output.hpp"
#include "clients/cli/recv_flags.hpp"
#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr const char* kProgram = "dmq-recv";
constexpr milliseconds kSlice{1000};      // of a long wait; how long Ctrl-C may wait for a receive under way
constexpr milliseconds kCloseWait{1500};  // longer than a slice, so that what it brings goes back
constexpr std::int64_t kWaitMsLimit = std::int64_t{100} * 365 * 24 * 3600 * 1000;  // what clocks can add
constexpr std::size_t kBatch = 100;
constexpr milliseconds kPushWait{500};  // for messages of a subscription, at the least

OutputForm form_of(const RecvFlags& flags) {
  if (flags.lines) return OutputForm::kLines;
  if (flags.raw) return OutputForm::kRaw;
  return flags.json || !is_terminal(STDOUT_FILENO) ? OutputForm::kJson : OutputForm::kPeople;
}

class Receiver {
 public:
  Receiver(const RecvFlags& flags, const Interrupt& interrupt, Client& client)
      : flags_(flags), interrupt_fd_(interrupt.fd()), client_(client), form_(form_of(flags)) {}

  // Until the count is reached, nothing came in time, or the output is gone.
  void run() {
    const std::uint64_t most = flags_.follow ? UINT64_MAX : std::max<std::uint64_t>(flags_.count, 1);
    while (received_ < most && !output_gone_) {
      std::vector<Lease> batch = wait_for_batch(std::min<std::uint64_t>(most - received_, kBatch));
      if (batch.empty()) break;
      for (const Lease& message : batch) write_message(output_, message, form_, coloured_);
      // LIMIT: while a reader lets this wait nothing tells of the consumer; its messages may go to others then.
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

  // What came by a subscription and was not written.
  void give_back() {
    if (!subscribed_) return;
    client_.unsubscribe(flags_.queue);
    std::vector<Lease> rest(std::make_move_iterator(pushed_.begin()), std::make_move_iterator(pushed_.end()));
    client_.nack_async(rest, {Nack::kGiveBack, {}, {}});
  }

  std::uint64_t received() const { return received_; }
  bool output_gone() const { return output_gone_; }

 private:
  std::vector<Lease> wait_for_batch(std::uint64_t most) { return flags_.credit == 0 ? ask(most) : wait_for_push(most); }

  std::vector<Lease> ask(std::uint64_t most) {
    const auto until = steady_clock::now() + milliseconds(std::min(flags_.wait.value, kWaitMsLimit));
    ReceiveOptions options = receive_options(flags_);
    options.max = most;
    while (true) {
      const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
      options.wait = flags_.follow ? kSlice : std::clamp(left, milliseconds(0), kSlice);
      std::vector<Lease> batch = client_.receive(flags_.queue, options);
      renew_kept();
      if (!batch.empty() || (!flags_.follow && left <= kSlice)) return batch;
    }
  }

  std::vector<Lease> wait_for_push(std::uint64_t most) {
    if (!std::exchange(subscribed_, true)) subscribe();
    // That there are none, nobody says.
    const milliseconds wait = std::max(milliseconds(std::min(flags_.wait.value, kWaitMsLimit)), kPushWait);
    const auto until = steady_clock::now() + wait;
    while (pushed_.empty()) {
      const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
      if (failure_) throw ClientError(*failure_);
      if (!flags_.follow && left <= milliseconds(0)) return {};
      client_.poll(flags_.follow ? kSlice : std::min(left, kSlice));
    }
    const auto end = pushed_.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(most, pushed_.size()));
    std::vector<Lease> batch(std::make_move_iterator(pushed_.begin()), std::make_move_iterator(end));
    pushed_.erase(pushed_.begin(), end);
    return batch;
  }

  void subscribe() {
    SubscribeOptions options;
    options.credit = flags_.credit;
    options.lease = milliseconds(flags_.lease.value);
    options.consumer = flags_.consumer;
    options.heartbeat = milliseconds(flags_.heartbeat.value);
    client_.subscribe(flags_.queue, options, [this](ReceiveResult result) {
      failure_ = std::move(result.failure);
      std::move(result.leases.begin(), result.leases.end(), std::back_inserter(pushed_));
    });
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

  const RecvFlags& flags_;
  int interrupt_fd_;
  Client& client_;
  OutputForm form_;
  std::string output_;  // of one batch
  bool coloured_ = is_coloured(STDOUT_FILENO);
  std::uint64_t received_ = 0;
  bool output_gone_ = false;
  bool subscribed_ = false;
  std::deque<Lease> pushed_;
  std::optional<Failure> failure_;
  std::deque<std::vector<Lease>> kept_;
  steady_clock::time_point renew_at_ = steady_clock::now() + milliseconds(1000);
};

int receive(const RecvFlags& flags, const Interrupt& interrupt) {
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
    receiver.give_back();
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

int exec(const RecvFlags& flags, Interrupt& interrupt) {
  if (const auto fault = command_fault(flags.exec)) {
    std::cerr << kProgram << ": " << *fault << "\n";
    return kExitUsage;
  }
  return ExecLoop(kProgram, flags, interrupt).run();
}

int run(int argc, char** argv) {
  Interrupt interrupt;
  RecvFlags flags;
  CLI::App app{"", kProgram};
  add_recv_flags(app, flags);
  if (const auto code = parse_flags(app, argc, argv)) return *code;
  if (!flags.exec.empty()) return exec(flags, interrupt);
  if (flags.follow && flags.ack != "auto") {
    std::cerr << kProgram << ": --follow never comes to an end, so only --ack auto fits\n";
    return kExitUsage;
  }
  if (flags.credit != 0 && flags.ack != "auto") {
    std::cerr << kProgram << ": with --credit messages come as others are acked, so only --ack auto fits\n";
    return kExitUsage;
  }
  return receive(flags, interrupt);
}

}  // namespace
}  // namespace dmq::cli

int main(int argc, char** argv) { return dmq::cli::run_command(dmq::cli::kProgram, dmq::cli::run, argc, argv); }
