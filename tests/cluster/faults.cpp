// See faults.hpp.
#include "tests/cluster/faults.hpp"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <numeric>

namespace dmq::cluster {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kFillTries = 10;
constexpr std::size_t kAcksOnFullDiskMs = 2'000;
constexpr milliseconds kBacklogTime{1'000};
constexpr std::size_t kFlipsMax = 64;

// --- programs ---

Mend away(Stage& stage, Daemon& victim, bool power) {
  stage.kill(victim, power);
  return [&] {
    victim.start();
    stage.release(victim);
  };
}

Mend kill(Stage& stage) { return away(stage, stage.choose(""), false); }
Mend power(Stage& stage) { return away(stage, stage.choose(stage.below(4) == 0 ? "metad" : "storage-"), true); }

Mend power_of_all(Stage& stage) {
  std::vector<Daemon*> victims;
  for (const auto& daemon : stage.cluster().daemons()) {
    if (daemon->running()) victims.push_back(daemon.get());
  }
  std::shuffle(victims.begin(), victims.end(), stage.random());
  for (Daemon* victim : victims) stage.kill(*victim, true);
  return [victims] {
    for (Daemon* victim : victims) victim->start();
  };
}

Mend stop_one(Stage& stage, const std::string& prefix) {
  Daemon& victim = stage.choose(prefix);
  ::kill(victim.pid(), SIGSTOP);
  return [&] {
    ::kill(victim.pid(), SIGCONT);
    stage.release(victim);
  };
}

Mend stop(Stage& stage) { return stop_one(stage, ""); }
Mend stop_worker(Stage& stage) { return stop_one(stage, "storage-"); }

Mend clock(Stage& stage) {
  Daemon& victim = stage.choose("");
  // Ahead by less than clients have patience for: what is delayed by such a clock waits that long.
  const std::int64_t off_ms = stage.below(2) == 0 ? static_cast<std::int64_t>(stage.below(20'000))
                                                  : -static_cast<std::int64_t>(stage.below(3'600'000));
  stage.cluster().set_clock(victim, milliseconds(off_ms));
  return [&] {
    stage.cluster().set_clock(victim, {});
    stage.release(victim);
  };
}

// --- network ---

std::string address(Stage& stage, const Daemon& daemon) { return stage.isolation().address(stage.place(daemon)); }

// All places but that one, and where clients are.
std::vector<std::string> addresses_but(Stage& stage, std::size_t place) {
  std::vector<std::string> all{Isolation::own_address()};
  for (std::size_t i = 0; i < stage.isolation().places(); ++i) {
    if (i != place) all.push_back(stage.isolation().address(i));
  }
  return all;
}

Mend mend_network(Stage& stage) {
  return [&stage] { stage.isolation().mend(); };
}

// It hears nobody, nobody hears it, or both.
void cut_off(Stage& stage, std::size_t place, bool hears_not, bool is_not_heard) {
  if (hears_not) stage.isolation().cut(place, addresses_but(stage, place));
  for (std::size_t i = 0; is_not_heard && i <= stage.isolation().places(); ++i) {
    if (i != place) stage.isolation().cut(i, {stage.isolation().address(place)});
  }
}

Mend cut_one(Stage& stage) {
  Daemon& victim = stage.choose("");
  stage.release(victim);  // it may be killed as well
  cut_off(stage, stage.place(victim), true, true);
  return mend_network(stage);
}

Mend cut_one_way(Stage& stage) {
  Daemon& victim = stage.choose("");
  stage.release(victim);
  const bool hears = stage.below(2) == 0;
  cut_off(stage, stage.place(victim), !hears, hears);
  return mend_network(stage);
}

Mend cut_halves(Stage& stage) {
  Isolation& net = stage.isolation();
  std::vector<std::size_t> order(net.places());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), stage.random());
  const std::size_t half = 1 + stage.below(order.size() - 1);
  for (std::size_t i = 0; i < order.size(); ++i) {
    std::vector<std::string> others;
    for (std::size_t j = 0; j < order.size(); ++j) {
      if ((i < half) != (j < half)) others.push_back(net.address(order[j]));
    }
    net.cut(order[i], others);
  }
  return mend_network(stage);
}

// Each sees only its two neighbours.
Mend cut_ring(Stage& stage) {
  Isolation& net = stage.isolation();
  std::vector<std::size_t> order(net.places());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), stage.random());
  const std::size_t count = order.size();
  for (std::size_t i = 0; i < count; ++i) {
    std::vector<std::string> others;
    for (std::size_t step = 2; step + 1 < count; ++step) others.push_back(net.address(order[(i + step) % count]));
    net.cut(order[i], others);
  }
  return mend_network(stage);
}

Mend cut_metad(Stage& stage) {
  Daemon& worker = stage.choose("storage-");
  stage.release(worker);
  Daemon& metad = stage.cluster().daemon("metad");
  stage.isolation().cut(stage.place(worker), {address(stage, metad)});
  stage.isolation().cut(stage.place(metad), {address(stage, worker)});
  return mend_network(stage);
}

// --- disks ---

// What is sent meanwhile stays, until even the free pages of the store are taken. Then clients ack some of it before
// there is room again.
Mend full_disk(Stage& stage) {
  const std::string path = stage.cluster().data(*stage.cluster().cramped()) + "/ballast";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) throw Trouble("cannot make " + path);
  struct statvfs disk {};
  // The worker takes room at the same time.
  for (int tries = 0; tries < kFillTries && ::fstatvfs(fd, &disk) == 0 && disk.f_bavail > 0; ++tries) {
    const off_t size = ::lseek(fd, 0, SEEK_END);
    static_cast<void>(::posix_fallocate(fd, size, static_cast<off_t>(disk.f_bavail * disk.f_frsize)));
  }
  ::close(fd);
  stage.hold_consumers(true);
  return [&stage, path] {
    stage.hold_consumers(false);
    stage.watch(milliseconds(stage.below(kAcksOnFullDiskMs)));
    std::filesystem::remove(path);
  };
}

// The victim ends; while it is away its files are damaged.
template <class Damage>
Mend damage_one(Stage& stage, Damage damage) {
  stage.await_health();
  Daemon& victim = stage.choose("storage-");
  stage.kill(victim);
  damage(victim);
  return [&] {
    victim.start();
    stage.release(victim);
  };
}

Mend wipe(Stage& stage) {
  return damage_one(stage, [&](Daemon& victim) { stage.wipe(victim); });
}

// Damage is to hit something: consumers hold before it, so that messages lie in the store.
template <class Damage>
Mend damage_messages(Stage& stage, Damage damage) {
  stage.hold_consumers(true);
  stage.watch(kBacklogTime);
  const Mend mend = damage_one(stage, [&](Daemon& victim) { damage(stage.cluster().data(victim) + "/data.mdb"); });
  return [&stage, mend] {
    mend();
    stage.hold_consumers(false);
  };
}

Mend flip(Stage& stage) {
  return damage_messages(stage, [&](const std::string& path) {
    const auto size = static_cast<std::size_t>(std::filesystem::file_size(path));
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    for (std::size_t left = 1 + stage.below(kFlipsMax); left != 0; --left) {
      const auto at = static_cast<std::streamoff>(stage.below(size));
      file.seekg(at);
      const int byte = file.get() ^ (1 << stage.below(8));
      file.seekp(at);
      file.put(static_cast<char>(byte));
    }
  });
}

Mend truncate(Stage& stage) {
  return damage_messages(stage, [&](const std::string& path) {
    std::filesystem::resize_file(path, stage.below(static_cast<std::size_t>(std::filesystem::file_size(path))));
  });
}

// --- members ---

Mend join(Stage& stage, Daemon& spare) {
  stage.operate({"drain", spare.name(), "--undo"}, seconds(10));  // metad may not know it yet
  spare.start();
  return [] {};
}

Mend leave(Stage& stage, Daemon& spare) {
  stage.await_health();
  if (stage.operate({"drain", spare.name(), "--wait"}, seconds(90)) != 0) {
    throw Trouble(spare.name() + " does not become empty, see commands.log");
  }
  if (const int code = spare.stop(); code != 0) throw Trouble(spare.name() + " did not end well: " + spare.ended_how());
  stage.wipe(spare);
  return [] {};
}

// The spare worker joins, or is emptied and leaves for good.
Mend members(Stage& stage) {
  Daemon& spare = *stage.cluster().spare();
  return spare.running() ? leave(stage, spare) : join(stage, spare);
}

}  // namespace

const std::vector<Fault>& all_faults() {
  static const std::vector<Fault> all{
      {"kill", "one program is killed", Kind::kProcess, true, kill},
      {"stop", "one program stands still", Kind::kProcess, true, stop},
      {"stop-worker", "one worker stands still", Kind::kProcess, false, stop_worker},
      {"cut-one", "one machine is alone", Kind::kNetwork, true, cut_one},
      {"cut-one-way", "one machine hears nobody, or is not heard", Kind::kNetwork, true, cut_one_way},
      {"cut-halves", "two groups of machines do not hear each other", Kind::kNetwork, true, cut_halves},
      {"cut-ring", "each machine hears only two others", Kind::kNetwork, true, cut_ring},
      {"cut-metad", "one worker and metad do not hear each other", Kind::kNetwork, true, cut_metad},
      {"clock", "one wall clock jumps, and back", Kind::kClock, true, clock},
      {"power", "one machine loses power", Kind::kPower, true, power},
      {"power-all", "all machines lose power", Kind::kDamage, true, power_of_all},
      {"full-disk", "the disk of one worker is full", Kind::kDisk, true, full_disk},
      {"wipe", "one worker loses its store", Kind::kDamage, true, wipe},
      {"members", "a worker joins, or is emptied and leaves", Kind::kMembers, true, members},
      {"flip", "bits flip in the store of one worker", Kind::kDamage, true, flip},
      {"truncate", "the store of one worker is cut short", Kind::kDamage, true, truncate},
  };
  return all;
}

}  // namespace dmq::cluster
