// See stage.hpp.
#include "tests/cluster/stage.hpp"

#include <poll.h>

#include <filesystem>

#include "tests/cluster/command.hpp"
#include "tests/cluster/power_loss.hpp"

namespace dmq::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kHealthPatience{90'000};
constexpr milliseconds kLookAgain{200};

}  // namespace

Daemon& Stage::choose(const std::string& prefix) {
  std::vector<Daemon*> free;
  for (const auto& daemon : cluster_.daemons()) {
    if (daemon->running() && daemon->name().starts_with(prefix) && !busy_.contains(daemon.get())) {
      free.push_back(daemon.get());
    }
  }
  if (free.empty()) throw Trouble("there is no " + prefix + " left that runs");
  Daemon& chosen = *free[below(free.size())];
  busy_.insert(&chosen);
  last_chosen_ = chosen.name();
  return chosen;
}

std::size_t Stage::place(const Daemon& daemon) const {
  std::size_t place = 0;
  while (cluster_.daemons()[place].get() != &daemon) ++place;
  return place;
}

void Stage::kill(Daemon& daemon, bool power) {
  if (!daemon.kill()) throw Trouble(daemon.name() + " ended by itself: " + daemon.ended_how());
  const std::string journals = cluster_.journals(daemon);
  if (!std::filesystem::exists(journals)) return;
  if (power) pages_lost_ += lose_power(journals, random_);
  forget_journals(journals);
}

// The directory itself may be where a disk is mounted.
void Stage::wipe(Daemon& daemon) {
  for (const auto& entry : std::filesystem::directory_iterator(cluster_.data(daemon))) {
    std::filesystem::remove_all(entry.path());
  }
}

void Stage::watch(milliseconds pause) {
  const auto until = steady_clock::now() + pause;
  for (;;) {
    std::vector<pollfd> ends;
    // poll() passes over one that is not running: its descriptor is -1.
    for (const auto& daemon : cluster_.daemons()) ends.push_back({daemon->end_fd(), POLLIN, 0});
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) return;
    if (::poll(ends.data(), ends.size(), static_cast<int>(left.count())) <= 0) continue;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (ends[i].revents == 0) continue;
      Daemon& daemon = *cluster_.daemons()[i];
      daemon.kill();
      throw Trouble(daemon.name() + " ended by itself: " + daemon.ended_how());
    }
  }
}

// As an operator does when all is well again.
void Stage::remove_set_aside() {
  for (const auto& daemon : cluster_.daemons()) {
    if (!std::filesystem::exists(cluster_.data(*daemon))) continue;
    for (const auto& entry : std::filesystem::directory_iterator(cluster_.data(*daemon))) {
      if (!entry.path().filename().string().starts_with("damaged-")) continue;
      std::filesystem::remove(entry.path());
      ++set_aside_;
    }
  }
}

void Stage::await_health() {
  const auto until = steady_clock::now() + kHealthPatience;
  while (operate({"status"}, milliseconds(10'000)) != 0) {
    if (steady_clock::now() > until) throw Trouble("the cluster does not become well, see commands.log");
    watch(kLookAgain);
  }
  remove_set_aside();
}

int Stage::operate(std::vector<std::string> arguments, milliseconds patience) {
  Command command;
  command.arguments = {support::program_beside("dmq"), "cluster"};
  command.arguments.insert(command.arguments.end(), arguments.begin(), arguments.end());
  command.arguments.insert(command.arguments.end(), {"--metad", cluster_.metad()});
  command.output = cluster_.directory() + "/commands.log";
  command.patience = patience;
  return run_command(command);
}

}  // namespace dmq::cluster
