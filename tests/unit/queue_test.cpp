// The queue core, by hand and against a naive model.
#include "storage/queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>
#include <tuple>

namespace dmq {
namespace {

constexpr TimeMs kStart{1000};
constexpr Epoch kEpoch{3};
TimeMs after(std::int64_t ms) { return kStart + DurationMs{ms}; }
ReturnState counted(std::uint32_t deliveries) {
  ReturnState state;
  state.deliveries = deliveries;
  return state;
}

}  // namespace

TEST_CASE("messages are handed out in order, each once", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 10}, kStart);
  CHECK(queue.first_ready() == Lsn{1});
  CHECK(queue.lease_first(kEpoch, after(100), 10, {}).deliveries == 1);
  CHECK(queue.first_ready() == Lsn{2});
  queue.lease_first(kEpoch, after(100), 10, {});
  queue.lease_first(kEpoch, after(100), 10, {});
  CHECK_FALSE(queue.has_ready());
  CHECK(queue.counts().leased == 3);
  CHECK(queue.counts().bytes == 30);
}

TEST_CASE("a message that was given back takes its old place and is counted", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 1}, kStart);
  const Lease first = queue.lease_first(kEpoch, after(100), 1, {});
  const auto settling = queue.begin_settle({1}, first.id);
  REQUIRE(settling);
  queue.give_back({1}, counted(settling->deliveries), kStart, kStart);
  CHECK(queue.first_ready() == Lsn{1});
  CHECK(queue.lease_first(kEpoch, after(100), 1, {}).deliveries == 2);
}

TEST_CASE("an ack on a lease that was re-issued is refused", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease old = queue.lease_first(kEpoch, after(100), 1, {});
  std::vector<Queue::Expired> expired;
  queue.expire(after(100), 10, expired);
  REQUIRE(expired.size() == 1);
  queue.give_back({1}, counted(expired[0].lease.deliveries), after(100), after(100));
  const Lease again = queue.lease_first(kEpoch, after(200), 1, {});
  CHECK_FALSE(queue.begin_settle({1}, old.id));
  CHECK(queue.begin_settle({1}, again.id));
}

TEST_CASE("a lease ends at its deadline and not before", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  queue.lease_first(kEpoch, after(100), 1, {});
  std::vector<Queue::Expired> expired;
  queue.expire(after(99), 10, expired);
  CHECK(expired.empty());
  CHECK(queue.next_deadline() == after(100));
  queue.expire(after(100), 10, expired);
  CHECK(expired.size() == 1);
}

TEST_CASE("an extended lease ends later, a wrong number extends nothing", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease lease = queue.lease_first(kEpoch, after(100), 1, {});
  CHECK_FALSE(queue.extend({1}, {kEpoch, {lease.id.number.value + 1}}, after(300)));
  CHECK(queue.extend({1}, lease.id, after(300)));
  std::vector<Queue::Expired> expired;
  queue.expire(after(299), 10, expired);
  CHECK(expired.empty());
  queue.expire(after(300), 10, expired);
  CHECK(expired.size() == 1);
}

TEST_CASE("while a settlement is on its way to the disk nothing else settles the message", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 7}, kStart);
  const Lease lease = queue.lease_first(kEpoch, after(100), 7, {});
  const auto settling = queue.begin_settle({1}, lease.id);
  REQUIRE(settling);
  CHECK_FALSE(queue.begin_settle({1}, lease.id));
  std::vector<Queue::Expired> expired;
  queue.expire(after(1000), 10, expired);
  CHECK(expired.empty());
  SECTION("a failed commit leaves it leased") {
    queue.restore({1});
    CHECK(queue.begin_settle({1}, lease.id));
  }
  SECTION("a commit ends it") {
    queue.remove({1}, 7);
    CHECK(queue.empty());
    CHECK(queue.counts().bytes == 0);
  }
}

TEST_CASE("a hand-out that reached nobody is not counted", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease lease = queue.lease_first(kEpoch, after(100), 1, {});
  CHECK(queue.undo_lease({1}, lease.id));
  CHECK_FALSE(queue.undo_lease({1}, lease.id));
  const Lease next = queue.lease_first(kEpoch, after(100), 1, {});
  CHECK(next.deliveries == 1);
  CHECK_FALSE(queue.begin_settle({1}, lease.id));
}

TEST_CASE("a delayed message is ready at its time", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease lease = queue.lease_first(kEpoch, after(100), 1, {});
  queue.give_back({1}, counted(queue.begin_settle({1}, lease.id)->deliveries), after(50), kStart);
  CHECK(queue.counts().delayed == 1);
  CHECK(queue.next_deadline() == after(50));
  CHECK_FALSE(queue.wake(after(49)));
  CHECK(queue.wake(after(50)));
  CHECK(queue.lease_first(kEpoch, after(100), 1, {}).deliveries == 2);
}

TEST_CASE("higher priorities go first, and within one the order stays", "[storage][queue]") {
  Queue queue;
  const Priority priorities[] = {0, 5, 9, 5, 0};
  for (std::uint64_t i = 0; i < 5; ++i) queue.append({i + 1}, {.bytes = 1, .priority = priorities[i]}, kStart);
  std::vector<std::uint64_t> order;
  while (const auto lsn = queue.first_ready()) {
    order.push_back(lsn->value);
    queue.lease_first(kEpoch, after(100), 1, {});
  }
  CHECK(order == std::vector<std::uint64_t>{3, 2, 4, 1, 5});
}

TEST_CASE("a redelivered message keeps its priority and place", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 4; ++lsn) {
    queue.append({lsn}, {.bytes = 1, .priority = static_cast<Priority>(lsn % 2)}, kStart);
  }
  const Lease lease = queue.lease_first(kEpoch, after(100), 1, {});
  queue.begin_settle({1}, lease.id);
  queue.give_back({1}, counted(1), after(10), kStart);
  CHECK(queue.first_ready() == Lsn{3});
  queue.wake(after(10));
  CHECK(queue.first_ready() == Lsn{1});
}

TEST_CASE("a message that was sent with a delay comes at its time, in its place", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1, .ready_at = after(50)}, kStart);
  queue.append({2}, {.bytes = 1}, kStart);
  CHECK(queue.first_ready() == Lsn{2});
  CHECK(queue.counts().delayed == 1);
  CHECK(queue.next_deadline() == after(50));
  CHECK_FALSE(queue.wake(after(49)));
  CHECK(queue.wake(after(50)));
  CHECK(queue.first_ready() == Lsn{1});
  CHECK(queue.lease_first(kEpoch, after(100), 1, {}).deliveries == 1);
}

TEST_CASE("an expired message is not handed out, whether ready or delayed", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 7, .expires_at = after(50)}, kStart);
  queue.append({2}, {.bytes = 7, .ready_at = after(80), .expires_at = after(50)}, kStart);
  queue.append({3}, {.bytes = 7}, kStart);
  CHECK(queue.next_deadline() == after(50));
  queue.wake(after(49));
  CHECK(queue.first_ready() == Lsn{1});
  queue.wake(after(50));
  CHECK(queue.first_ready() == Lsn{3});
  CHECK(queue.next_deadline() == TimeMs{});  // they are to be taken
  std::vector<Lsn> expired;
  queue.take_expired(10, expired);
  std::sort(expired.begin(), expired.end());
  CHECK(expired == std::vector<Lsn>{{1}, {2}});
  CHECK(queue.next_deadline() == after(80));  // early
  for (const Lsn lsn : expired) CHECK(queue.remove(lsn, 7));
  CHECK(queue.counts().bytes == 7);
  queue.check_invariants();
}

TEST_CASE("a leased message expires when it comes back, and not while it is held", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1, .expires_at = after(50)}, kStart);
  const Lease lease = queue.lease_first(kEpoch, after(100), 1, {});
  queue.wake(after(60));
  REQUIRE(queue.begin_settle({1}, lease.id));
  SECTION("acked") { CHECK(queue.remove({1}, 1)); }
  SECTION("given back") {
    queue.give_back({1}, counted(1), after(60), after(60));
    queue.wake(after(60));
    CHECK_FALSE(queue.has_ready());
    std::vector<Lsn> expired;
    queue.take_expired(10, expired);
    CHECK(expired.size() == 1);
  }
}

TEST_CASE("what expired and was not removed expires again in the next term", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1, .expires_at = after(50)}, kStart);
  queue.wake(after(50));
  queue.end_leases();
  CHECK(queue.has_ready());
  queue.wake(after(50));
  CHECK_FALSE(queue.has_ready());
  queue.check_invariants();
}

TEST_CASE("what is acked elsewhere goes from any state", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 6; ++lsn) queue.append({lsn}, {.bytes = 10}, kStart);
  queue.lease_first(kEpoch, after(100), 10, {});
  queue.give_back({5}, counted(2), after(50), kStart);
  queue.give_back({6}, counted(1), kStart, kStart);
  for (const std::uint64_t lsn : {3, 1, 5, 6}) {  // ready in the middle, leased, delayed, returned
    INFO("lsn " << lsn);
    CHECK(queue.remove({lsn}, 10));
    CHECK_FALSE(queue.remove({lsn}, 10));
    queue.check_invariants();
  }
  CHECK(queue.all() == std::vector<Lsn>{{2}, {4}});
  CHECK(queue.counts().ready == 2);
  CHECK(queue.counts().bytes == 20);
  CHECK(queue.lease_first(kEpoch, after(100), 10, {}).deliveries == 1);
  CHECK(queue.first_ready() == Lsn{4});
}

TEST_CASE("a term's end gives back what was leased, uncounted", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 1}, kStart);
  const Lease first = queue.lease_first(kEpoch, after(100), 1, {});
  queue.lease_first(kEpoch, after(100), 1, {});
  queue.begin_settle({1}, first.id);
  queue.end_leases();
  queue.check_invariants();
  CHECK(queue.counts().ready == 3);
  CHECK(queue.lease_first(kEpoch, after(100), 1, {}).deliveries == 1);
  CHECK_FALSE(queue.begin_settle({1}, first.id));
}

// One message of the naive model: a list of these, searched from the front.
namespace {

struct Modelled {
  enum class State { kReady, kHeld, kLeased, kSettling, kDelayed, kExpired, kDead } state = State::kReady;
  std::uint32_t deliveries = 0;
  TimeMs until{};
  LeaseId lease{};
  bool logged = false;  // the lease
  Priority priority = 0;
  TimeMs expires{INT64_MAX};
  QueueId to;  // of a dead one
  std::uint64_t mark = 0;
  OrderingKey key;
  std::pair<Lsn, int> turn;  // of one with a key, when it became ready
};

constexpr TimeMs kNever{INT64_MAX};

struct Model {
  using State = Modelled::State;
  std::map<Lsn, Modelled> messages;
  std::map<OrderingKey, Lsn> fronts;
  Lsn newest;
  int last_turn = 0;

  Lsn first_ready() {
    Lsn first;
    const auto place = [this](Lsn lsn) {
      const Modelled& each = messages[lsn];
      return each.key.value == 0 ? std::tuple(-each.priority, lsn, 0)
                                 : std::tuple(-each.priority, each.turn.first, each.turn.second);
    };
    for (auto& [lsn, each] : messages) {
      if (each.state == State::kReady && (first.value == 0 || place(lsn) < place(first))) first = lsn;
    }
    return first;
  }
  // Ready at once or later, when its key lets it.
  void wait(Lsn lsn, TimeMs ready_at, TimeMs now) {
    Modelled& each = messages[lsn];
    each.logged = false;
    each.until = ready_at > now ? ready_at : TimeMs{};
    if (const auto front = fronts.find(each.key); front != fronts.end() && lsn < front->second) {
      const State before = messages[front->second].state;
      if (before == State::kReady || before == State::kDelayed) overtake(lsn);
    }
    const bool early = std::any_of(messages.begin(), messages.find(lsn), [&each](const auto& other) {
      return other.second.key == each.key && other.second.state == State::kHeld;
    });
    if (each.key.value != 0 && early) leave_line(lsn);
    if (each.key.value != 0 && fronts.emplace(each.key, lsn).first->second != lsn) {
      each.state = State::kHeld;
    } else {
      circulate(lsn);
    }
  }
  void circulate(Lsn lsn) {
    Modelled& each = messages[lsn];
    each.state = each.until.value == 0 ? State::kReady : State::kDelayed;
    if (each.state == State::kReady && each.key.value != 0) each.turn = {newest, ++last_turn};
  }
  void leave_line(Lsn lsn) {
    const OrderingKey key = messages[lsn].key;
    const auto front = fronts.find(key);
    if (front == fronts.end() || front->second != lsn) return;
    fronts.erase(front);
    for (auto& [next, each] : messages) {
      if (each.key != key || each.state != State::kHeld) continue;
      fronts[key] = next;
      return circulate(next);
    }
  }
  bool erase(Lsn lsn) {
    if (!messages.contains(lsn)) return false;
    messages[lsn].state = State::kDead;
    leave_line(lsn);
    return messages.erase(lsn) > 0;
  }
  bool is_out(OrderingKey key) {
    return std::any_of(messages.begin(), messages.end(), [key](const auto& each) {
      return each.second.key == key && (each.second.state == State::kLeased || each.second.state == State::kSettling);
    });
  }
  // The log says that it is out.
  void overtake(Lsn lsn) {
    const OrderingKey key = messages[lsn].key;
    const auto front = fronts.find(key);
    if (front != fronts.end() && front->second != lsn) {
      Modelled& before = messages[front->second];
      if (before.state == State::kReady) before.until = {};
      if (before.state == State::kReady || before.state == State::kDelayed) before.state = State::kHeld;
    }
    fronts[key] = lsn;
  }
  std::uint64_t count(Modelled::State state) {
    std::uint64_t sum = 0;
    for (auto& [lsn, each] : messages) sum += each.state == state;
    return sum;
  }
};

// Plain ones mostly.
template <class Pick>
void append_any(Queue& queue, Model& model, Lsn lsn, TimeMs now, const Pick& pick) {
  Modelled each;
  Arrival arrival{.bytes = 1};
  if (pick(2) == 0) arrival.key = each.key = {1 + pick(3)};
  if (pick(3) == 0) arrival.priority = each.priority = static_cast<Priority>(pick(4) * 3);
  if (pick(4) == 0) {
    arrival.ready_at = now + DurationMs{static_cast<std::int64_t>(pick(30))};
  }
  if (pick(4) == 0) {
    each.expires = now + DurationMs{static_cast<std::int64_t>(1 + pick(60))};
    arrival.expires_at = each.expires;
  }
  queue.append(lsn, arrival, now);
  model.messages[lsn] = each;
  model.newest = lsn;
  model.wait(lsn, arrival.ready_at, now);
}

void random_walk(std::uint64_t seed, int steps) {
  using State = Modelled::State;
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint64_t below) { return random() % below; };
  Queue queue;
  Model model;
  std::map<Lsn, Lease> settling;
  TimeMs now = kStart;
  std::uint64_t next_lsn = 1;
  std::uint64_t next_mark = 1;
  for (int step = 0; step < steps; ++step) {
    now = now + DurationMs{static_cast<std::int64_t>(pick(5))};
    switch (pick(19)) {
      case 14: {  // dead ones that another queue has by now
        const QueueId to{1 + pick(2)};
        const std::uint64_t mark = pick(next_mark);
        std::vector<Lsn> left;
        queue.take_left(to, mark, left);
        std::set<Lsn> expected;
        for (auto& [lsn, each] : model.messages) {
          if (each.state == State::kDead && each.to == to && each.mark <= mark) expected.insert(lsn);
        }
        REQUIRE(std::set<Lsn>(left.begin(), left.end()) == expected);
        for (const Lsn lsn : left) {
          if (pick(3) == 0) {
            queue.restore(lsn);
          } else {
            REQUIRE(queue.remove(lsn, 1));
            model.erase(lsn);
          }
        }
        break;
      }
      case 16: {  // what this leader gave out is in the log, or its lease goes on
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        if (known == model.messages.end() || known->second.key.value == 0 || known->second.state != State::kLeased)
          break;
        REQUIRE(queue.apply_lease(lsn, {known->second.lease, DurationMs{20}, {}}, 1, now + DurationMs{20}));
        known->second.logged = true;
        known->second.until = now + DurationMs{20};
        break;
      }
      case 17: {  // given out by another leader
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        if (known == model.messages.end() || known->second.key.value == 0) break;
        Modelled& each = known->second;
        const bool waits = each.state == State::kReady || each.state == State::kHeld || each.state == State::kDelayed;
        if (!waits || model.is_out(each.key)) break;
        each.lease = {{9}, {static_cast<std::uint32_t>(step)}};
        REQUIRE(queue.apply_lease(lsn, {each.lease, DurationMs{20}, {}}, 1, std::nullopt));
        model.overtake(lsn);
        each.state = State::kLeased;
        each.logged = true;
        each.until = kNever;
        break;
      }
      case 18:
        if (pick(10) != 0) break;
        queue.resume_leases(now);
        for (auto& [lsn, each] : model.messages) {
          if (each.state == State::kLeased && each.logged && each.until == kNever) each.until = now + DurationMs{20};
        }
        break;
      case 15: {  // taken out, and back as it was or anew
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const bool can = known != model.messages.end() &&
                         (known->second.state == State::kReady || known->second.state == State::kDelayed ||
                          known->second.state == State::kHeld ||
                          (known->second.state == State::kDead && known->second.to.value == 0));
        REQUIRE(queue.withdraw(lsn) == can);
        if (!can) break;
        REQUIRE_FALSE(queue.withdraw(lsn));
        if (pick(2) == 0) {
          queue.restore(lsn);
          // What was delayed is so until the same time.
          if (known->second.state == State::kHeld) model.wait(lsn, known->second.until, {});
          if (known->second.state == State::kReady) model.wait(lsn, now, now);
        } else {
          queue.give_back(lsn, {}, now, now);
          model.wait(lsn, now, now);
          known->second.deliveries = 0;
        }
        break;
      }
      case 12: {  // what expired is removed, or cannot be
        std::vector<Lsn> expired;
        queue.take_expired(1 + pick(3), expired);
        for (const Lsn lsn : expired) {
          REQUIRE(model.messages.at(lsn).state == State::kExpired);
          if (pick(4) == 0) {
            queue.restore(lsn);
          } else {
            REQUIRE(queue.remove(lsn, 1));
            model.erase(lsn);
          }
        }
        break;
      }
      case 13:
        if (pick(20) != 0) break;
        queue.end_leases();
        settling.clear();
        for (auto& [lsn, each] : model.messages) {
          const bool out = each.state == State::kLeased || each.state == State::kSettling;
          if (out && each.logged) {
            each.state = State::kLeased;
            each.until = kNever;
          } else if (out || each.state == State::kExpired) {
            model.wait(lsn, now, now);
          }
        }
        break;
      case 10: {  // acked under another leader
        const Lsn lsn{1 + pick(next_lsn)};
        REQUIRE(queue.remove(lsn, 1) == model.erase(lsn));
        settling.erase(lsn);
        break;
      }
      case 11: {  // came back under another leader
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const TimeMs ready = now + DurationMs{static_cast<std::int64_t>(pick(2) * 9)};
        REQUIRE(queue.give_back(lsn, counted(3), ready, now) == (known != model.messages.end()));
        if (known == model.messages.end()) break;
        model.wait(lsn, ready, now);
        known->second.deliveries = 3;
        settling.erase(lsn);
        break;
      }
      case 0:
      case 1:
        append_any(queue, model, {next_lsn++}, now, pick);
        break;
      case 2:
      case 3:
        REQUIRE(queue.first_ready().value_or(Lsn{}) == model.first_ready());
        if (const Lsn lsn = model.first_ready(); lsn.value != 0) {
          const Lease lease = queue.lease_first(kEpoch, now + DurationMs{20}, 1, {});
          Modelled& each = model.messages[lsn];
          each.state = State::kLeased;
          each.until = each.key.value == 0 ? now + DurationMs{20} : kNever;
          each.lease = lease.id;
          REQUIRE(lease.priority == each.priority);
          REQUIRE(lease.deliveries == each.deliveries + 1);
        }
        break;
      case 4:
      case 5: {  // settle a random message, with its number or a wrong one
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const bool right = pick(4) != 0;
        LeaseId id = known == model.messages.end() ? LeaseId{} : known->second.lease;
        if (!right) pick(2) == 0 ? ++id.number.value : ++id.epoch.value;
        const auto lease = queue.begin_settle(lsn, id);
        const bool expected = known != model.messages.end() && known->second.state == State::kLeased && right;
        REQUIRE(lease.has_value() == expected);
        if (!lease) break;
        known->second.state = State::kSettling;
        settling[lsn] = *lease;
        break;
      }
      case 6:
        if (settling.empty()) break;
        {
          const auto [lsn, lease] = *settling.begin();
          settling.erase(settling.begin());
          Modelled& each = model.messages[lsn];
          switch (pick(6)) {
            case 0:
              REQUIRE(queue.remove(lsn, 1));
              model.erase(lsn);
              break;
            case 1:
              queue.restore(lsn);
              each.state = State::kLeased;
              if (each.until == kNever && !each.logged) model.wait(lsn, now, now);  // it has not left
              break;
            case 2:
              queue.give_back(lsn, counted(lease.deliveries), now, now);
              model.wait(lsn, now, now);
              each.deliveries = lease.deliveries;
              break;
            case 3:
              queue.give_back(lsn, counted(lease.deliveries), now + DurationMs{7}, now);
              model.wait(lsn, now + DurationMs{7}, now);
              each.deliveries = lease.deliveries;
              break;
            default: {
              each.to = {pick(3)};
              each.mark = next_mark++;
              ReturnState state = counted(lease.deliveries);
              state.move = {MoveCause::kMaxDeliveries, each.to, each.mark};
              queue.give_back(lsn, state, now, now);
              each.state = State::kDead;
              each.logged = false;
              model.leave_line(lsn);
              each.deliveries = lease.deliveries;
            }
          }
        }
        break;
      case 7: {
        std::vector<Queue::Expired> expired;
        queue.expire(now, 1000, expired);
        std::size_t due = 0;
        for (auto& [lsn, each] : model.messages) due += each.state == State::kLeased && each.until <= now;
        REQUIRE(expired.size() == due);
        for (const auto& [lsn, lease] : expired) {
          queue.give_back(lsn, counted(lease.deliveries), now, now);
          model.wait(lsn, now, now);
          model.messages[lsn].deliveries = lease.deliveries;
        }
        break;
      }
      case 8: {
        queue.wake(now);
        std::set<std::tuple<TimeMs, Priority, Lsn>> due;
        for (auto& [lsn, each] : model.messages) {
          if (each.state == State::kDelayed && each.until <= now) due.insert({each.until, each.priority, lsn});
        }
        for (const auto& [at, priority, lsn] : due) model.wait(lsn, now, now);
        for (auto& [lsn, each] : model.messages) {
          const bool waits = each.state == State::kReady || each.state == State::kDelayed || each.state == State::kHeld;
          if (waits && each.expires <= now) each.state = State::kExpired;
        }
        break;
      }
      default: {
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        if (known == model.messages.end() || known->second.state != State::kLeased) break;
        if (pick(2) == 0) {
          REQUIRE(queue.extend(lsn, known->second.lease, now + DurationMs{40}));
          known->second.until = now + DurationMs{40};
        } else {
          REQUIRE(queue.undo_lease(lsn, known->second.lease) == !known->second.logged);
          if (!known->second.logged) model.wait(lsn, now, now);
        }
      }
    }
    queue.check_invariants();
    const QueueCounts counts = queue.counts();
    REQUIRE(counts.ready == model.count(State::kReady) + model.count(State::kHeld));
    REQUIRE(counts.leased ==
            model.count(State::kLeased) + model.count(State::kSettling) + model.count(State::kExpired));
    REQUIRE(counts.delayed == model.count(State::kDelayed));
    REQUIRE(counts.dead == model.count(State::kDead));
    REQUIRE(counts.bytes == model.messages.size());
  }
}

}  // namespace

TEST_CASE("the queue does what a naive model does", "[storage][queue][random]") {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    random_walk(seed, 1500);
  }
}

TEST_CASE("a message behind another of its key keeps its delay when it could not be withdrawn", "[storage][queue]") {
  Queue queue;
  Arrival first;
  first.key = {7};
  queue.append({1}, first, kStart);
  Arrival second = first;
  second.ready_at = kStart + DurationMs{500};
  queue.append({2}, second, kStart);
  REQUIRE(queue.withdraw({2}));
  queue.restore({2});
  queue.check_invariants();
  CHECK(queue.first_ready() == Lsn{1});
  queue.remove({1}, 0);
  queue.wake(kStart + DurationMs{499});
  CHECK_FALSE(queue.has_ready());
  queue.wake(kStart + DurationMs{500});
  CHECK(queue.first_ready() == Lsn{2});
  queue.check_invariants();
}

TEST_CASE("a lease of a message whose record lost its key is forgotten", "[storage][queue]") {
  Queue queue;
  ReturnState returned;
  returned.lease = {{{1}, {1}}, DurationMs{100}, {5}};
  Arrival arrival;
  arrival.returned = &returned;
  queue.append({1}, arrival, kStart);
  queue.check_invariants();
  CHECK(queue.returned({1}) == nullptr);
  CHECK(queue.first_ready() == Lsn{1});
}

TEST_CASE("the queue does what a naive model does, for a million steps", "[storage][queue][queue-long]") {
  const std::uint64_t first = std::random_device{}();
  for (std::uint64_t seed = first; seed < first + 500; ++seed) {
    INFO("seed " << seed);
    random_walk(seed, 2000);
  }
}

}  // namespace dmq
