// The queue core, by hand and against a naive model.
#include "storage/queue.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

namespace dmq {
namespace {

constexpr TimeMs kStart{1000};
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
  CHECK(queue.lease_first(after(100), 10, {}).deliveries == 1);
  CHECK(queue.first_ready() == Lsn{2});
  queue.lease_first(after(100), 10, {});
  queue.lease_first(after(100), 10, {});
  CHECK_FALSE(queue.has_ready());
  CHECK(queue.counts().leased == 3);
  CHECK(queue.counts().bytes == 30);
}

TEST_CASE("a message that was given back takes its old place and is counted", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 1}, kStart);
  const Lease first = queue.lease_first(after(100), 1, {});
  const auto settling = queue.begin_settle({1}, first.number);
  REQUIRE(settling);
  queue.give_back({1}, counted(settling->deliveries), kStart, kStart);
  CHECK(queue.first_ready() == Lsn{1});
  CHECK(queue.lease_first(after(100), 1, {}).deliveries == 2);
}

TEST_CASE("an ack on a lease that was re-issued is refused", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease old = queue.lease_first(after(100), 1, {});
  std::vector<Queue::Expired> expired;
  queue.expire(after(100), 10, expired);
  REQUIRE(expired.size() == 1);
  queue.give_back({1}, counted(expired[0].lease.deliveries), after(100), after(100));
  const Lease again = queue.lease_first(after(200), 1, {});
  CHECK_FALSE(queue.begin_settle({1}, old.number));
  CHECK(queue.begin_settle({1}, again.number));
}

TEST_CASE("a lease ends at its deadline and not before", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  queue.lease_first(after(100), 1, {});
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
  const Lease lease = queue.lease_first(after(100), 1, {});
  CHECK_FALSE(queue.extend({1}, {lease.number.value + 1}, after(300)));
  CHECK(queue.extend({1}, lease.number, after(300)));
  std::vector<Queue::Expired> expired;
  queue.expire(after(299), 10, expired);
  CHECK(expired.empty());
  queue.expire(after(300), 10, expired);
  CHECK(expired.size() == 1);
}

TEST_CASE("while a settlement is on its way to the disk nothing else settles the message", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 7}, kStart);
  const Lease lease = queue.lease_first(after(100), 7, {});
  const auto settling = queue.begin_settle({1}, lease.number);
  REQUIRE(settling);
  CHECK_FALSE(queue.begin_settle({1}, lease.number));
  std::vector<Queue::Expired> expired;
  queue.expire(after(1000), 10, expired);
  CHECK(expired.empty());
  SECTION("a failed commit leaves it leased") {
    queue.restore({1});
    CHECK(queue.begin_settle({1}, lease.number));
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
  const Lease lease = queue.lease_first(after(100), 1, {});
  CHECK(queue.undo_lease({1}, lease.number));
  CHECK_FALSE(queue.undo_lease({1}, lease.number));
  const Lease next = queue.lease_first(after(100), 1, {});
  CHECK(next.deliveries == 1);
  CHECK_FALSE(queue.begin_settle({1}, lease.number));
}

TEST_CASE("a delayed message is ready at its time", "[storage][queue]") {
  Queue queue;
  queue.append({1}, {.bytes = 1}, kStart);
  const Lease lease = queue.lease_first(after(100), 1, {});
  queue.give_back({1}, counted(queue.begin_settle({1}, lease.number)->deliveries), after(50), kStart);
  CHECK(queue.counts().delayed == 1);
  CHECK(queue.next_deadline() == after(50));
  CHECK_FALSE(queue.wake(after(49)));
  CHECK(queue.wake(after(50)));
  CHECK(queue.lease_first(after(100), 1, {}).deliveries == 2);
}

TEST_CASE("higher priorities go first, and within one the order stays", "[storage][queue]") {
  Queue queue;
  const Priority priorities[] = {0, 5, 9, 5, 0};
  for (std::uint64_t i = 0; i < 5; ++i) queue.append({i + 1}, {.bytes = 1, .priority = priorities[i]}, kStart);
  std::vector<std::uint64_t> order;
  while (const auto lsn = queue.first_ready()) {
    order.push_back(lsn->value);
    queue.lease_first(after(100), 1, {});
  }
  CHECK(order == std::vector<std::uint64_t>{3, 2, 4, 1, 5});
}

TEST_CASE("a redelivered message keeps its priority and place", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 4; ++lsn) {
    queue.append({lsn}, {.bytes = 1, .priority = static_cast<Priority>(lsn % 2)}, kStart);
  }
  const Lease lease = queue.lease_first(after(100), 1, {});
  queue.begin_settle({1}, lease.number);
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
  CHECK(queue.lease_first(after(100), 1, {}).deliveries == 1);
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
  const Lease lease = queue.lease_first(after(100), 1, {});
  queue.wake(after(60));
  REQUIRE(queue.begin_settle({1}, lease.number));
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
  queue.lease_first(after(100), 10, {});
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
  CHECK(queue.lease_first(after(100), 10, {}).deliveries == 1);
  CHECK(queue.first_ready() == Lsn{4});
}

TEST_CASE("a term's end gives back what was leased, uncounted", "[storage][queue]") {
  Queue queue;
  for (std::uint64_t lsn = 1; lsn <= 3; ++lsn) queue.append({lsn}, {.bytes = 1}, kStart);
  const Lease first = queue.lease_first(after(100), 1, {});
  queue.lease_first(after(100), 1, {});
  queue.begin_settle({1}, first.number);
  queue.end_leases();
  queue.check_invariants();
  CHECK(queue.counts().ready == 3);
  CHECK(queue.lease_first(after(100), 1, {}).deliveries == 1);
  CHECK_FALSE(queue.begin_settle({1}, first.number));
}

// One message of the naive model: a list of these, searched from the front.
namespace {

struct Modelled {
  enum class State { kReady, kLeased, kSettling, kDelayed, kExpired, kDead } state = State::kReady;
  std::uint32_t deliveries = 0;
  TimeMs until{};
  LeaseNumber number{};
  Priority priority = 0;
  TimeMs expires{INT64_MAX};
  QueueId to;  // of a dead one
  std::uint64_t mark = 0;
};

struct Model {
  std::map<Lsn, Modelled> messages;
  Lsn first_ready() {
    Lsn first;
    for (auto& [lsn, each] : messages) {
      if (each.state != Modelled::State::kReady) continue;
      if (first.value == 0 || each.priority > messages[first].priority) first = lsn;
    }
    return first;
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
  if (pick(3) == 0) arrival.priority = each.priority = static_cast<Priority>(pick(4) * 3);
  if (pick(4) == 0) {
    arrival.ready_at = each.until = now + DurationMs{static_cast<std::int64_t>(pick(30))};
    if (each.until > now) each.state = Modelled::State::kDelayed;
  }
  if (pick(4) == 0) {
    each.expires = now + DurationMs{static_cast<std::int64_t>(1 + pick(60))};
    arrival.expires_at = each.expires;
  }
  queue.append(lsn, arrival, now);
  model.messages[lsn] = each;
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
    switch (pick(16)) {
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
            model.messages.erase(lsn);
          }
        }
        break;
      }
      case 15: {  // taken out, and back as it was or anew
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const bool can =
            known != model.messages.end() && (known->second.state == State::kReady ||
                                              (known->second.state == State::kDead && known->second.to.value == 0));
        REQUIRE(queue.withdraw(lsn) == can);
        if (!can) break;
        REQUIRE_FALSE(queue.withdraw(lsn));
        if (pick(2) == 0) {
          queue.restore(lsn);
        } else {
          queue.give_back(lsn, {}, now, now);
          known->second.state = State::kReady;
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
            model.messages.erase(lsn);
          }
        }
        break;
      }
      case 13:
        if (pick(20) != 0) break;
        queue.end_leases();
        settling.clear();
        for (auto& [lsn, each] : model.messages) {
          if (each.state != State::kDelayed && each.state != State::kDead) each.state = State::kReady;
        }
        break;
      case 10: {  // acked under another leader
        const Lsn lsn{1 + pick(next_lsn)};
        REQUIRE(queue.remove(lsn, 1) == (model.messages.erase(lsn) > 0));
        settling.erase(lsn);
        break;
      }
      case 11: {  // came back under another leader
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const TimeMs ready = now + DurationMs{static_cast<std::int64_t>(pick(2) * 9)};
        REQUIRE(queue.give_back(lsn, counted(3), ready, now) == (known != model.messages.end()));
        if (known == model.messages.end()) break;
        known->second.state = ready <= now ? State::kReady : State::kDelayed;
        known->second.deliveries = 3;
        known->second.until = ready;
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
          const Lease lease = queue.lease_first(now + DurationMs{20}, 1, {});
          Modelled& each = model.messages[lsn];
          each.state = State::kLeased;
          each.until = now + DurationMs{20};
          each.number = lease.number;
          REQUIRE(lease.priority == each.priority);
          REQUIRE(lease.deliveries == each.deliveries + 1);
        }
        break;
      case 4:
      case 5: {  // settle a random message, with its number or a wrong one
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        const bool right = pick(4) != 0;
        const LeaseNumber number = known == model.messages.end() ? LeaseNumber{1} : known->second.number;
        const auto lease = queue.begin_settle(lsn, right ? number : LeaseNumber{number.value + 1});
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
              model.messages.erase(lsn);
              break;
            case 1:
              queue.restore(lsn);
              each.state = State::kLeased;
              break;
            case 2:
              queue.give_back(lsn, counted(lease.deliveries), now, now);
              each.state = State::kReady;
              each.deliveries = lease.deliveries;
              break;
            case 3:
              queue.give_back(lsn, counted(lease.deliveries), now + DurationMs{7}, now);
              each.state = State::kDelayed;
              each.until = now + DurationMs{7};
              each.deliveries = lease.deliveries;
              break;
            default: {
              each.to = {pick(3)};
              each.mark = next_mark++;
              ReturnState state = counted(lease.deliveries);
              state.move = {MoveCause::kMaxDeliveries, each.to, each.mark};
              queue.give_back(lsn, state, now, now);
              each.state = State::kDead;
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
          model.messages[lsn].state = State::kReady;
          model.messages[lsn].deliveries = lease.deliveries;
        }
        break;
      }
      case 8: {
        queue.wake(now);
        for (auto& [lsn, each] : model.messages) {
          if (each.state == State::kDelayed && each.until <= now) each.state = State::kReady;
          const bool waits = each.state == State::kReady || each.state == State::kDelayed;
          if (waits && each.expires <= now) each.state = State::kExpired;
        }
        break;
      }
      default: {
        const Lsn lsn{1 + pick(next_lsn)};
        const auto known = model.messages.find(lsn);
        if (known == model.messages.end() || known->second.state != State::kLeased) break;
        if (pick(2) == 0) {
          REQUIRE(queue.extend(lsn, known->second.number, now + DurationMs{40}));
          known->second.until = now + DurationMs{40};
        } else {
          REQUIRE(queue.undo_lease(lsn, known->second.number));
          known->second.state = State::kReady;
        }
      }
    }
    queue.check_invariants();
    const QueueCounts counts = queue.counts();
    REQUIRE(counts.ready == model.count(State::kReady));
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

TEST_CASE("the queue does what a naive model does, for a million steps", "[storage][queue][queue-long]") {
  const std::uint64_t first = std::random_device{}();
  for (std::uint64_t seed = first; seed < first + 500; ++seed) {
    INFO("seed " << seed);
    random_walk(seed, 2000);
  }
}

}  // namespace dmq
