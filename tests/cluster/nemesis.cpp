// See nemesis.hpp.
#include "tests/cluster/nemesis.hpp"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <vector>

namespace dmq::cluster {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

std::string Nemesis::run() {
  for (int round = 0; round < options_.rounds; ++round) {
    if (std::string ended = watch(next_pause()); !ended.empty()) return ended;
    if (std::string trouble = strike(); !trouble.empty()) return trouble;
  }
  // Those that were killed last have to come up as well. A program that was not killed has said so before.
  return watch(options_.between_max);
}

Daemon& Nemesis::choose() {
  for (;;) {
    Daemon& victim = *cluster_.daemons()[random_() % cluster_.daemons().size()];
    if (!options_.pauses_only || victim.name().starts_with("storage-")) return victim;
  }
}

std::string Nemesis::strike() {
  Daemon& victim = choose();
  if (options_.away_max.count() > 0) return strike_for_a_while(victim);
  if (!victim.kill()) return victim.name() + " ended by itself: " + victim.ended_how();
  victim.start();
  return {};
}

std::string Nemesis::strike_for_a_while(Daemon& victim) {
  const milliseconds away(random_() % static_cast<std::uint64_t>(options_.away_max.count()));
  if (options_.pauses_only || random_() % 3 == 0) {
    ::kill(victim.pid(), SIGSTOP);
    const std::string trouble = watch(away);
    ::kill(victim.pid(), SIGCONT);
    return trouble;
  }
  if (!victim.kill()) return victim.name() + " ended by itself: " + victim.ended_how();
  const std::string trouble = watch(away);
  victim.start();
  return trouble;
}

milliseconds Nemesis::next_pause() {
  if (random_() % 5 == 0) return milliseconds(random_() % 40);
  const auto span = static_cast<std::uint64_t>((options_.between_max - options_.between_min).count());
  return options_.between_min + milliseconds(random_() % (span + 1));
}

std::string Nemesis::watch(milliseconds pause) {
  const auto until = steady_clock::now() + pause;
  std::vector<pollfd> ends;
  // poll() passes over one that is not running: its descriptor is -1.
  for (const auto& daemon : cluster_.daemons()) ends.push_back({daemon->end_fd(), POLLIN, 0});
  for (;;) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
    if (left.count() <= 0) return {};
    if (::poll(ends.data(), ends.size(), static_cast<int>(left.count())) <= 0) continue;
    for (std::size_t i = 0; i < ends.size(); ++i) {
      Daemon& daemon = *cluster_.daemons()[i];
      if (ends[i].revents == 0) continue;
      daemon.kill();
      return daemon.name() + " ended by itself: " + daemon.ended_how();
    }
  }
}

}  // namespace dmq::cluster
