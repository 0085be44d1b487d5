// See nemesis.hpp.
#include "tests/cluster/nemesis.hpp"

#include <algorithm>
#include <ctime>
#include <fstream>

namespace dmq::cluster {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kOverlapMax{1'500};
constexpr milliseconds kProgressPatience{60'000};
constexpr milliseconds kLookAgain{100};

bool is_alone(Kind kind) { return kind == Kind::kDamage || kind == Kind::kMembers; }

bool is_possible(Kind kind, const Ground& ground, bool spare) {
  switch (kind) {
    case Kind::kProcess:
      return true;
    case Kind::kNetwork:
      return ground.isolation != nullptr;
    case Kind::kClock:
    case Kind::kPower:
      return ground.preload;
    case Kind::kDisk:
      return ground.small_disk_bytes != 0;
    case Kind::kDamage:
    case Kind::kMembers:
      return spare;
  }
  return false;
}

}  // namespace

std::vector<std::string> possible_faults(const std::vector<std::string>& names, const Ground& ground, bool spare,
                                         std::vector<std::string>& left_out) {
  std::vector<std::string> possible;
  for (const std::string& name : names) {
    bool known = false;
    for (const Fault& fault : all_faults()) {
      if (name != fault.name && !(name == "all" && fault.usual)) continue;
      known = true;
      const bool power = fault.kind == Kind::kPower || fault.name == std::string("power-all");
      const bool good = is_possible(fault.kind, ground, spare) && (!power || ground.preload);
      (good ? possible : left_out).emplace_back(fault.name);
    }
    if (!known) throw Trouble("there is no fault " + name);
  }
  return possible;
}

Nemesis::Nemesis(Cluster& cluster, Isolation* isolation, NemesisOptions options,
                 std::function<std::uint64_t()> confirmed, std::function<void(bool)> hold_consumers)
    : options_(std::move(options)),
      confirmed_(std::move(confirmed)),
      stage_(cluster, isolation, std::move(hold_consumers), options_.seed) {
  for (const Fault& fault : all_faults()) {
    if (std::ranges::find(options_.faults, fault.name) != options_.faults.end()) chosen_.push_back(&fault);
  }
}

std::string Nemesis::run() {
  const auto end = steady_clock::now() + options_.time_min;
  try {
    for (int round = 0; round < options_.rounds || confirmed_() < options_.confirmed_min || steady_clock::now() < end;
         ++round) {
      stage_.watch(next_pause());
      run_round();
    }
    // Those that were struck last have to come up as well. A program that was not killed has said so before.
    stage_.watch(options_.between_max);
  } catch (const Trouble& trouble) {
    tell(trouble.what());
    stage_.hold_consumers(false);
    return trouble.what();
  }
  return {};
}

void Nemesis::run_round() {
  const bool lasting = options_.away_max.count() > 0;
  if (chosen_.empty() || (lasting && stage_.below(4) == 0)) return be_quiet();
  const Fault& first = draw();
  const Mend mend_first = strike(first);
  const Fault* const second = lasting && stage_.below(3) == 0 ? draw_second(first) : nullptr;
  if (second == nullptr) {
    if (lasting) stage_.watch(some(options_.away_max));
    mend(mend_first, first.name);
    if (first.kind == Kind::kDamage) stage_.await_health();
    return;
  }
  ++counts_["mixed"];
  stage_.watch(some(kOverlapMax));
  const Mend mend_second = strike(*second);
  stage_.watch(some(options_.away_max));
  mend(mend_first, first.name);
  stage_.watch(some(kOverlapMax));
  mend(mend_second, second->name);
}

void Nemesis::be_quiet() {
  ++counts_["quiet"];
  tell("quiet, " + std::to_string(confirmed_()) + " messages are confirmed");
  stage_.await_health();
  const std::uint64_t before = confirmed_();
  const auto until = steady_clock::now() + kProgressPatience;
  stage_.watch(some(options_.away_max));
  while (confirmed_() == before) {
    if (steady_clock::now() > until) throw Trouble("all is well and nothing is confirmed any more");
    stage_.watch(kLookAgain);
  }
}

const Fault& Nemesis::draw() {
  if (deck_.empty()) {
    deck_ = chosen_;
    std::shuffle(deck_.begin(), deck_.end(), stage_.random());
  }
  const Fault& drawn = *deck_.back();
  deck_.pop_back();
  return drawn;
}

const Fault* Nemesis::draw_second(const Fault& first) {
  if (is_alone(first.kind)) return nullptr;
  std::vector<const Fault*> fit;
  for (const Fault* fault : chosen_) {
    const bool twice_one_kind = fault->kind == first.kind && fault->kind != Kind::kProcess;
    if (!is_alone(fault->kind) && !twice_one_kind) fit.push_back(fault);
  }
  return fit.empty() ? nullptr : fit[stage_.below(fit.size())];
}

Mend Nemesis::strike(const Fault& fault) {
  ++counts_[fault.name];
  tell(fault.name);
  Mend mend = fault.strike(stage_);
  tell(std::string(fault.name) + " struck " + stage_.last_chosen());
  return mend;
}

void Nemesis::mend(const Mend& mend, const std::string& name) {
  mend();
  tell(name + " mended");
}

// Times as in the logs of the programs, so that they can be read side by side.
void Nemesis::tell(const std::string& what) const {
  const auto now = std::chrono::system_clock::now();
  const auto ms = std::chrono::duration_cast<milliseconds>(now.time_since_epoch()).count() % 1000;
  const std::time_t second = std::chrono::system_clock::to_time_t(now);
  char text[32];
  std::strftime(text, sizeof text, "%FT%T", std::gmtime(&second));
  const std::string fraction = std::to_string(1000 + ms).substr(1);
  std::ofstream(stage_.cluster().directory() + "/nemesis.log", std::ios::app)
      << text << '.' << fraction << "Z " << what << '\n';
}

milliseconds Nemesis::some(milliseconds max) {
  return milliseconds(max.count() <= 0 ? 0 : stage_.below(static_cast<std::size_t>(max.count())));
}

milliseconds Nemesis::next_pause() {
  if (stage_.below(5) == 0) return some(milliseconds(40));
  return options_.between_min + some(options_.between_max - options_.between_min);
}

}  // namespace dmq::cluster
