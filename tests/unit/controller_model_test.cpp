// The controller against a naive model of one partition: in-sync set, eligible set, election (rules 1, 2, 8 and 13).
#include <bit>
#include <random>

#include "controller_script.hpp"

using namespace dmq;

namespace {

using Mask = unsigned;

// Workers are numbers, by preference as leader; sets are bits.
struct Model {
  int workers;
  int min_in_sync;
  Mask in_sync;
  Mask eligible = 0;
  Mask damaged = 0;
  Mask alive;
  Mask fenced = 0;
  int leader = 0;
  std::uint32_t epoch = 0;

  Model(int count, int min) : workers(count), min_in_sync(min), in_sync((1U << count) - 1), alive((1U << count) - 1) {}

  bool able(int k) const { return (alive >> k & 1) != 0 && (fenced >> k & 1) == 0; }
  void set(Mask next) {
    const Mask removed = in_sync & ~next;
    in_sync = next;
    eligible = std::popcount(in_sync) >= min_in_sync ? 0 : (eligible | removed) & ~in_sync;
  }
  int first(Mask among) const {
    for (int k = 0; k < workers; ++k) {
      if ((among >> k & 1) != 0 && able(k)) return k;
    }
    return -1;
  }
  void lead(int k) {
    leader = k;
    ++epoch;
    if (k >= 0) damaged &= ~(1U << k);
    if (k >= 0) set(in_sync | 1U << k);
  }
  void elect() {
    const int next = first(in_sync) >= 0 ? first(in_sync) : first(eligible);
    if (next >= 0 || leader >= 0) lead(next);
  }
  void gone(Mask who) {
    set(in_sync & ~who);
    if (leader >= 0 && (who >> leader & 1) != 0) elect();
  }

  void lose(Mask who) {
    alive &= ~who;
    gone(who);
  }
  void come(int k, bool clean) {
    const bool led = leader == k;
    set(in_sync & ~(1U << k));
    if (!clean) eligible &= ~(1U << k);
    alive |= 1U << k;
    if (led || leader < 0) elect();
    if (!clean) damaged |= 1U << k;
  }
  void fence(int k, bool on) {
    const Mask before = fenced;
    fenced = on ? fenced | 1U << k : fenced & ~(1U << k);
    if (fenced == before) return;
    if (on) gone(1U << k);
    if (leader < 0) elect();
  }
  void alter(Mask next, bool current) {
    if (leader < 0 || !current || (next >> leader & 1) == 0) return;
    for (int k = 0; k < workers; ++k) {
      if ((next & ~in_sync) >> k & 1 && (!able(k) || (damaged >> k & 1) != 0)) return;
    }
    set(next);
  }
  void resign() {
    if (leader < 0) return;
    const int next = first(in_sync & ~(1U << leader));
    lead(next >= 0 ? next : leader);
  }
  void unclean(int k) {
    if ((alive >> k & 1) == 0) return;
    const Mask others = (in_sync | eligible) & ~(1U << k);
    if (leader == k ? first(others) < 0 : (eligible >> k & 1) != 0 && others == 0) return;
    damaged |= 1U << k;
    set(in_sync & ~(1U << k));
    eligible &= ~(1U << k);
    if (leader == k) elect();
  }
  void repaired(int k) {
    if ((alive >> k & 1) != 0) damaged &= ~(1U << k);
  }
  void force(int k) {
    if (!able(k) || leader == k) return;
    if (((in_sync | eligible) >> k & 1) == 0) in_sync = eligible = 0;
    lead(k);
  }
  void set_min(int min) {
    min_in_sync = min;
    set(in_sync);
  }
};

std::string name_of(int k) { return {static_cast<char>('a' + k)}; }

std::string names_of(Mask mask) {
  std::string out;
  for (int k = 0; k < 8; ++k) {
    if ((mask >> k & 1) != 0) out += (out.empty() ? "" : " ") + name_of(k);
  }
  return out;
}

std::string letters_of(Mask mask) {
  std::string out = names_of(mask);
  std::erase(out, ' ');
  return out;
}

std::string text(const Model& m) {
  return (m.leader < 0 ? "nobody" : name_of(m.leader)) + "+" + std::to_string(m.epoch) + " [" + names_of(m.in_sync) +
         "]" + (m.eligible == 0 ? "" : " (" + names_of(m.eligible) + ")") +
         (m.damaged == 0 ? "" : " -" + names_of(m.damaged));
}

// One history: the same events for both.
void run(std::uint32_t seed, int events) {
  std::mt19937 random(seed);
  const auto below = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
  const int workers = 1 + below(5);
  const int min = 1 + below(workers);
  Controller::Settings set = Script::settings();
  set.handover_after = set.replace_after = DurationMs{std::int64_t{1} << 50};
  std::string all;
  for (int k = 0; k < workers; ++k) all += name_of(k);
  ReplicaScript real(all, static_cast<std::uint8_t>(min), set);
  Model model(workers, min);
  AlterInSync old = real.proposal(all);
  for (int i = 0; i < events; ++i) {
    const int k = below(workers);
    const Mask some = static_cast<Mask>(below(1 << workers));
    std::string event;
    switch (below(9)) {
      case 0: {
        event = "lose " + letters_of(some);
        real.lose(letters_of(some));
        model.lose(some & model.alive);
        break;
      }
      case 1:
      case 2: {
        const bool clean = below(8) != 0;
        event = "come " + name_of(k) + (clean ? "" : " unclean");
        real.come(ReplicaScript::member(name_of(k), clean));
        model.come(k, clean);
        break;
      }
      case 3:
      case 4: {
        const Mask next = below(2) == 0 ? some : some | model.in_sync;
        const bool current = below(4) != 0;
        event = std::string(current ? "" : "late ") + "alter " + letters_of(next);
        AlterInSync proposal = real.proposal(letters_of(next));
        if (!current) proposal.version = old.version;
        const bool same = proposal.version == real.info().version;
        old = proposal;
        real.ask(proposal);
        model.alter(next, same);
        break;
      }
      case 5:
        event = "fence " + name_of(k);
        if (const bool on = below(2) == 0; true) {
          real.fence(name_of(k), on);
          model.fence(k, on);
        }
        break;
      case 6:
        event = "resign";
        real.resign();
        model.resign();
        break;
      case 7:
        event = "unclean or repaired " + name_of(k);
        if (below(2) == 0) {
          real.unclean(name_of(k));
          model.unclean(k);
        } else {
          real.repaired(name_of(k));
          model.repaired(k);
        }
        break;
      default:
        if (below(3) == 0) {
          event = "force " + name_of(k);
          real.force(name_of(k), true);
          model.force(k);
        } else {
          const int next = 1 + below(workers);
          event = "minimum " + std::to_string(next);
          real.ask(SetCluster{static_cast<std::uint8_t>(workers), static_cast<std::uint8_t>(next)});
          model.set_min(next);
        }
    }
    INFO("seed " << seed << ", event " << i << ": " << event);
    REQUIRE(real.state() == text(model));
  }
}

}  // namespace

TEST_CASE("the controller does what the model of the rules does", "[metad][controller]") {
  const auto seed = std::random_device{}();
  for (std::uint32_t i = 0; i < 200; ++i) run(seed + i, 150);
}
