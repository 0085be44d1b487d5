// See exec_loop.hpp.
#include "clients/cli/exec_loop.hpp"

#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>
#include <system_error>

#include "clients/cli/exec_environment.hpp"

namespace dmq::cli {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSlice{1000};      // of a long wait; how long the end may wait for a receive under way
constexpr milliseconds kCloseWait{1500};  // longer than a slice, so that what it brings goes back
constexpr milliseconds kKillAfter{2000};  // a command that does not heed SIGTERM
constexpr std::int64_t kWaitMsLimit = std::int64_t{100} * 365 * 24 * 3600 * 1000;  // what clocks can add

int watch(std::initializer_list<int> fds) {
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  if (set < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  for (const int fd : fds) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) != 0) {
      throw std::system_error(errno, std::generic_category(), "epoll_ctl");
    }
  }
  return set;
}

// "ended with exit code 3", "was ended by signal 15".
std::string end_text(int status) {
  if (WIFSIGNALED(status)) return "was ended by signal " + std::to_string(WTERMSIG(status));
  return "ended with exit code " + std::to_string(WEXITSTATUS(status));
}

// The shell's own exit codes for what it cannot run.
bool could_not_run(int status) {
  return WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127);
}

std::string duration_text(DurationMs span) {
  return span.value % 1000 == 0 ? std::to_string(span.value / 1000) + "s" : std::to_string(span.value) + "ms";
}

}  // namespace

ExecLoop::ExecLoop(const char* program, const RecvFlags& flags, Interrupt& interrupt)
    : program_(program),
      flags_(flags),
      interrupt_(interrupt),
      core_(flags.follow ? UINT64_MAX : std::max<std::uint64_t>(flags.count, 1), flags.concurrency),
      wake_fd_(watch({interrupt.fd(), children_.fd()})) {
  client_.emplace(client_options(flags.broker, wake_fd_));
}

ExecLoop::~ExecLoop() {
  client_.reset();
  ::close(wake_fd_);
}

int ExecLoop::run() {
  while (!core_.finished()) {
    ask(Clock::now());
    wait();
  }
  client_->close(kCloseWait);
  return finish();
}

void ExecLoop::ask(Clock::time_point now) {
  ReceiveOptions options = receive_options(flags_);
  options.max = core_.wanted();
  if (options.max == 0) return;
  if (!waiting_) wait_until_ = now + milliseconds(std::min(flags_.wait.value, kWaitMsLimit));
  waiting_ = true;
  const auto left = std::chrono::ceil<milliseconds>(wait_until_ - now);
  options.wait = flags_.follow ? kSlice : std::clamp(left, milliseconds(0), kSlice);
  options.auto_extend = true;
  options.on_lost = [this](const LostLease& lost) {
    say("message " + lost.id + " may come to another receiver while its command runs: " + lost.failure.message);
  };
  core_.on_asked();
  client_->receive_async(flags_.queue, options, [this](ReceiveResult result) { on_received(std::move(result)); });
}

void ExecLoop::on_received(ReceiveResult result) {
  if (core_.stopped()) return core_.on_received(0);  // the messages go back with `result`
  core_.on_received(result.leases.size());
  if (result.failure) return stop_for(std::move(*result.failure));
  if (result.leases.empty() && !flags_.follow && Clock::now() >= wait_until_) return core_.stop();
  if (!result.leases.empty()) waiting_ = false;
  for (Lease& message : result.leases) start(std::move(message));
}

void ExecLoop::start(Lease message) {
  if (failure_) return give_back(std::move(message), {Nack::kGiveBack, {}, {}});
  try {
    const auto variables = exec_environment(message, flags_.broker.broker, environ);
    const pid_t pid = children_.start(flags_.exec, message.body(), variables);
    running_.emplace(pid, std::move(message));
  } catch (const std::system_error& error) {
    stop_for({"", error.what(), false});
    give_back(std::move(message), {Nack::kGiveBack, {}, {}});
  }
}

void ExecLoop::on_command_end(pid_t pid, int status) {
  const auto at = running_.find(pid);
  Lease message = std::move(at->second);
  running_.erase(at);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ack(std::move(message));
  const std::string what = "message " + std::string(message.id()) + " goes back: the command " + end_text(status);
  if (could_not_run(status)) {
    stop_for({"", what + ", as the shell's do that it does not find or cannot run", false});
    return give_back(std::move(message), {Nack::kGiveBack, {}, {}});
  }
  if (interrupts_ > 1) {  // ended here, and not for what the message is
    say(what);
    return give_back(std::move(message), {Nack::kGiveBack, {}, {}});
  }
  const DurationMs delay = flags_.nack_delay;
  say(what + (delay.value == 0 ? "" : "; it comes again in " + duration_text(delay)));
  give_back(std::move(message), {Nack::kFailed, milliseconds(delay.value), "the command " + end_text(status)});
}

void ExecLoop::ack(Lease message) {
  std::vector<Lease> leases;
  leases.push_back(std::move(message));
  client_->ack_async(leases, [this](const SettleResult& result) {
    if (result.failure) stop_for(*result.failure);
    if (result.failure) return core_.on_settled(ExecOutcome::kFailed);
    core_.on_settled(result.stale == 0 ? ExecOutcome::kDone : ExecOutcome::kLost);
  });
}

void ExecLoop::give_back(Lease message, const NackOptions& how) {
  std::vector<Lease> leases;
  leases.push_back(std::move(message));
  client_->nack_async(leases, how, [this](const SettleResult& result) {
    if (result.failure) stop_for(*result.failure);
    core_.on_settled(ExecOutcome::kFailed);
  });
}

void ExecLoop::wait() {
  const auto until_kill = std::chrono::ceil<milliseconds>(kill_at_ - Clock::now());
  try {
    client_->poll(std::clamp(until_kill, milliseconds(0), kSlice));
  } catch (const ClientError& error) {
    if (error.code() != "interrupted") throw;
  }
  for (int signals = interrupt_.take(); signals > 0; --signals) on_interrupt();
  if (Clock::now() >= kill_at_) {
    children_.signal_all(SIGKILL);
    kill_at_ = Clock::time_point::max();
  }
  for (const ChildProcesses::Ended& ended : children_.reap()) on_command_end(ended.pid, ended.status);
}

void ExecLoop::on_interrupt() {
  core_.stop();
  ++interrupts_;
  if (running_.empty()) return;
  if (interrupts_ == 1) {
    say("waiting for " + counted(running_.size(), "command") +
        "; Ctrl-C again ends them and gives their messages back");
    return;
  }
  children_.signal_all(SIGTERM);
  kill_at_ = interrupts_ == 2 ? Clock::now() + kKillAfter : Clock::now();
}

void ExecLoop::stop_for(Failure failure) {
  core_.stop();
  if (!failure_) failure_ = std::move(failure);
}

void ExecLoop::say(const std::string& text) const { std::cerr << program_ << ": " << text << std::endl; }

int ExecLoop::finish() const {
  const ExecTally& tally = core_.tally();
  const int code = failure_ ? report(program_, *failure_) : tally.exit_code();
  if (tally.all() != 0 && (code != kExitOk || is_terminal(STDERR_FILENO))) say(tally.text());
  if (failure_) return tally.done == 0 ? code : kExitPartly;
  return code == kExitNothing && flags_.follow ? kExitOk : code;
}

}  // namespace dmq::cli
