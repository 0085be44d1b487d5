// The controller: names and ids of queues, sessions and heartbeats of members, placement and epochs of partitions.
#include <map>
#include <random>
#include <set>

#include "controller_script.hpp"
#include "protocol/partitioner.hpp"

using namespace dmq;

namespace {

constexpr std::uint16_t kPartitions = 64;

// Who leads a partition or will when it comes back: the one copy of its data lies there.
std::string home_of(const PartitionInfo& partition) {
  return !partition.leader.empty() ? partition.leader : partition.eligible.empty() ? "" : partition.eligible.front();
}

}  // namespace

TEST_CASE("the first worker leads every partition, at epoch 1", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  for (const PartitionInfo& partition : s.partitions()) {
    CHECK(partition.leader == "a");
    CHECK(partition.epoch == Epoch{1});
  }
}

TEST_CASE("workers that start together share empty partitions", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  s.worker(1, "b");
  s.worker(2, "c");
  CHECK(s.led_by("a") + s.led_by("b") + s.led_by("c") == kPartitions);
  for (const char* name : {"a", "b", "c"}) CHECK(s.led_by(name) >= kPartitions / 6);
}

TEST_CASE("one more worker takes its share from others and moves nothing else", "[metad][controller]") {
  Script s;
  for (const char* name : {"a", "b", "c", "d"}) s.worker(0, name);
  const auto before = s.partitions();
  s.worker(1, "e");
  const auto after = s.partitions();
  std::size_t moved = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (before[i].leader == after[i].leader) {
      CHECK(before[i].epoch == after[i].epoch);
      continue;
    }
    CHECK(after[i].leader == "e");
    CHECK(after[i].epoch.value == before[i].epoch.value + 1);
    ++moved;
  }
  CHECK(moved > 0);
  CHECK(moved <= 2 * kPartitions / 5);
}

TEST_CASE("a partition in which a queue was ever created stays with its worker", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  std::set<std::uint16_t> settled;
  for (int i = 0; i < 30; ++i) settled.insert(s.create(1, "q" + std::to_string(i)).partition.value);
  s.at(2, DeleteQueue{"q0"});
  const std::uint16_t of_deleted = partition_of("q0", kPartitions).value;
  for (const char* name : {"b", "c", "d"}) s.worker(3, name);
  s.at(1000, ControllerTick{});
  s.at(2000, ControllerTick{});
  s.at(3000, ControllerTick{});
  s.at(4000, ControllerTick{});
  CHECK_FALSE(s.alive("a"));
  for (const PartitionInfo& partition : s.partitions()) {
    if (settled.contains(partition.id.value)) CHECK(home_of(partition) == "a");
  }
  CHECK(home_of(s.partitions()[of_deleted]) == "a");
  CHECK(s.partitions()[of_deleted].leader.empty());
  s.worker(4100, "a");
  CHECK(s.partitions()[of_deleted].leader == "a");
}

TEST_CASE("a queue made before any worker came is led by the first that comes, and stays there",
          "[metad][controller]") {
  Script s;
  const QueueInfo queue = s.create(0, "early");
  CHECK(s.partitions()[queue.partition.value].leader.empty());
  s.worker(1, "a");
  for (const char* name : {"b", "c", "d", "e", "f"}) s.worker(2, name);
  CHECK(s.partitions()[queue.partition.value].leader == "a");
}

TEST_CASE("a worker that registers again gets a new session and a higher epoch everywhere", "[metad][controller]") {
  Script s;
  const SessionId first = s.worker(0, "a");
  s.create(1, "q");
  const auto before = s.partitions();
  const SessionId second = s.worker(2, "a");
  CHECK(second > first);
  const auto after = s.partitions();
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i].epoch.value == before[i].epoch.value + 1);
  // In one transaction: the new session and all the epochs are changes of one step.
  CHECK(s.last().changes.size() == 1 + kPartitions);
  CHECK(s.error(3, MemberHeartbeat{first}) == Errc::kUnavailable);
  CHECK(s.error(3, MemberHeartbeat{second}) == Errc::kOk);
}

TEST_CASE("a registration tells where the feed is and how often to call", "[metad][controller]") {
  Script s;
  const auto reply = std::get<Registered>(s.at(0, RegisterMember{RegisterMember::Role::kRouter, "r", "", ""}));
  CHECK(reply.feed_endpoint == "inproc://feed");
  CHECK(reply.heartbeat_ms == 100);
  CHECK(s.last().changes.empty());
}

TEST_CASE("a member without a good name, or a worker without an endpoint, is refused", "[metad][controller]") {
  Script s;
  CHECK(s.error(0, RegisterMember{RegisterMember::Role::kRouter, "", "", ""}) == Errc::kInvalidArgument);
  CHECK(s.error(0, RegisterMember{RegisterMember::Role::kRouter, "a\nb", "", ""}) == Errc::kInvalidArgument);
  CHECK(s.error(0, RegisterMember{RegisterMember::Role::kWorker, "w", "", "commit"}) == Errc::kInvalidArgument);
}

TEST_CASE("a worker and a router may have the same name", "[metad][controller]") {
  Script s;
  const SessionId worker = s.worker(0, "node");
  const SessionId router = s.router(0, "node");
  CHECK(s.error(1, MemberHeartbeat{worker}) == Errc::kOk);
  CHECK(s.error(1, MemberHeartbeat{router}) == Errc::kOk);
}

TEST_CASE("a worker silent for three heartbeats is dead until it registers", "[metad][controller]") {
  Script s;
  const SessionId a = s.worker(0, "a");
  const SessionId b = s.worker(0, "b");
  for (std::int64_t ms = 50; ms <= 300; ms += 50) {
    s.at(ms, MemberHeartbeat{b});
    s.at(ms, ControllerTick{});
  }
  CHECK(s.alive("a"));  // just three, not more
  s.at(350, MemberHeartbeat{b});
  s.at(350, ControllerTick{});
  CHECK_FALSE(s.alive("a"));
  CHECK(s.alive("b"));
  CHECK(s.led_by("b") == kPartitions);  // none of them holds data
  CHECK(s.error(360, MemberHeartbeat{a}) == Errc::kUnavailable);
  s.worker(370, "a");
  CHECK(s.alive("a"));
  CHECK(s.led_by("a") > 0);
}

TEST_CASE("a stall of metad itself is not the members' silence", "[metad][controller]") {
  Script s;
  const SessionId a = s.worker(0, "a");
  s.at(60'000, ControllerTick{});
  CHECK(s.alive("a"));
  CHECK(s.error(60'001, MemberHeartbeat{a}) == Errc::kOk);
}

TEST_CASE("a silent router is forgotten", "[metad][controller]") {
  Script s;
  const SessionId r = s.router(0, "r");
  for (std::int64_t ms = 100; ms <= 500; ms += 100) s.at(ms, ControllerTick{});
  CHECK(s.error(501, MemberHeartbeat{r}) == Errc::kUnavailable);
}

TEST_CASE("creating a queue twice is fine with the same settings only", "[metad][controller]") {
  Script s;
  const QueueInfo queue = s.create(5, "q");
  CHECK(queue.created_ms == TimeMs{1'000'005});
  CHECK(queue.partition == partition_of("q", kPartitions));
  CHECK(s.create(6, "q") == queue);
  CHECK(s.last().changes.empty());
  const QueueSettings other{DurationMs{1234}};
  CHECK(s.error(7, CreateQueue{"q", other, false}) == Errc::kQueueExists);
  CHECK(std::get<QueueInfo>(s.at(8, CreateQueue{"q", other, true})) == queue);
}

TEST_CASE("bad names and settings of a queue are refused", "[metad][controller]") {
  Script s;
  CHECK(s.error(0, CreateQueue{"", {}, false}) == Errc::kInvalidArgument);
  CHECK(s.error(0, CreateQueue{std::string(201, 'x'), {}, false}) == Errc::kInvalidArgument);
  CHECK(s.error(0, CreateQueue{"q", {DurationMs{1}}, false}) == Errc::kInvalidArgument);
  CHECK(s.controller().snapshot().queues.empty());
}

TEST_CASE("the id of a deleted queue is never given again, also after a restart", "[metad][controller]") {
  Script s;
  const QueueId first = s.create(0, "q").id;
  CHECK(std::get<QueueDeleted>(s.at(1, DeleteQueue{"q"})) == QueueDeleted{first, "q"});
  CHECK(s.error(2, DeleteQueue{"q"}) == Errc::kNoSuchQueue);
  Script again = s.restarted();
  const QueueId second = again.create(3, "q").id;
  CHECK(second > first);
  CHECK(again.controller().snapshot().deleted == std::vector<QueueId>{first});
}

TEST_CASE("a restart keeps workers, their sessions and who leads what", "[metad][controller]") {
  Script s;
  const SessionId a = s.worker(0, "a");
  s.worker(0, "b");
  const SessionId r = s.router(0, "r");
  s.create(1, "q");
  Script again = s.restarted();
  check_same(again.controller().snapshot(), s.controller().snapshot());
  CHECK(again.error(0, MemberHeartbeat{a}) == Errc::kOk);
  CHECK(again.error(0, MemberHeartbeat{r}) == Errc::kUnavailable);
  CHECK(again.router(1, "r") > r);
}

TEST_CASE("settings of a queue change while they have the version that is named", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  const auto queue = std::get<QueueInfo>(s.at(1, CreateQueue{"q", {}, false}));
  CHECK(queue.version == 1);
  const QueueSettings wanted{DurationMs{500}};
  const auto changed = std::get<QueueInfo>(s.at(2, UpdateQueue{"q", 1, wanted}));
  CHECK(changed.version == 2);
  CHECK(changed.settings == wanted);
  CHECK(changed.id == queue.id);
  CHECK(std::get<QueueInfo>(s.at(3, UpdateQueue{"q", 1, wanted})).version == 2);  // repeated: nothing is different
  CHECK(s.error(4, UpdateQueue{"q", 1, {}}) == Errc::kUnavailable);
  CHECK(s.error(5, UpdateQueue{"q", 2, {DurationMs{1}}}) == Errc::kInvalidArgument);
  CHECK(s.error(6, UpdateQueue{"none", 1, wanted}) == Errc::kNoSuchQueue);
}

TEST_CASE("what a queue of several partitions may be, and how it grows", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  const auto parted = [](std::uint16_t partitions, std::uint16_t key_partitions = 0) {
    QueueSettings settings;
    settings.partitions = partitions;
    settings.key_partitions = key_partitions;
    return settings;
  };
  CHECK(s.error(1, CreateQueue{"q", parted(kPartitions + 1), false}) == Errc::kInvalidArgument);
  CHECK(s.error(1, CreateQueue{"q", parted(6, 3), false}) == Errc::kInvalidArgument);
  CHECK(s.error(1, CreateQueue{"q", parted(2, 4), false}) == Errc::kInvalidArgument);
  const auto queue = std::get<QueueInfo>(s.at(1, CreateQueue{"q", parted(6), false}));
  CHECK(queue.settings == parted(6, 4));
  CHECK(std::get<QueueInfo>(s.at(2, CreateQueue{"q", parted(6), false})) == queue);
  CHECK(s.error(2, CreateQueue{"q", parted(7), false}) == Errc::kQueueExists);
  CHECK(s.create(2, "one").settings == QueueSettings{});
  CHECK(s.error(3, UpdateQueue{"q", 1, parted(5, 4)}) == Errc::kInvalidArgument);
  CHECK(s.error(3, UpdateQueue{"q", 1, parted(8, 8)}) == Errc::kInvalidArgument);
  CHECK(std::get<QueueInfo>(s.at(4, UpdateQueue{"q", 1, parted(8, 4)})).settings.partitions == 8);
}

TEST_CASE("all partitions of a queue stay with their worker, also after a restart", "[metad][controller]") {
  Script s;
  s.worker(0, "a");
  QueueSettings settings;
  settings.partitions = settings.key_partitions = 4;
  const auto queue = std::get<QueueInfo>(s.at(1, CreateQueue{"q", settings, false}));
  settings.partitions = 6;
  s.at(2, UpdateQueue{"q", 1, settings});
  Script again = s.restarted();
  again.worker(3, "a");
  for (const char* name : {"b", "c", "d"}) again.worker(3, name);
  for (const std::int64_t ms : {1000, 2000, 3000, 4000}) again.at(ms, ControllerTick{});
  CHECK_FALSE(again.alive("a"));
  std::size_t given_away = 0;
  for (const PartitionInfo& partition : again.partitions()) {
    const auto part =
        static_cast<std::uint16_t>((partition.id.value + kPartitions - queue.partition.value) % kPartitions);
    if (part < 6) CHECK(home_of(partition) == "a");
    given_away += home_of(partition) == "a" ? 0 : 1;
  }
  CHECK(given_away > 0);
}

TEST_CASE("an undone turn leaves no trace", "[metad][controller]") {
  Script s;
  const SessionId a = s.worker(0, "a");
  s.create(1, "kept");
  Controller& controller = s.controller();
  const CatalogSnapshot before = controller.snapshot();
  const CatalogCounters counters = controller.counters();
  const auto step = [&](const ControllerEvent& event) { controller.step({TimeMs{2}, TimeMs{2}}, event); };
  step(CreateQueue{"new", {}, false});
  step(UpdateQueue{"kept", 1, {DurationMs{700}}});
  step(DeleteQueue{"kept"});
  step(CreateQueue{"kept", {DurationMs{500}}, false});
  step(RegisterMember{RegisterMember::Role::kWorker, "b", "inproc://b", "commit"});
  step(RegisterMember{RegisterMember::Role::kWorker, "a", "inproc://other", "none"});
  step(RegisterMember{RegisterMember::Role::kRouter, "r", "", ""});
  controller.check_invariants();
  controller.undo();
  controller.check_invariants();
  check_same(controller.snapshot(), before);
  CHECK(controller.counters() == counters);
  CHECK(s.error(3, MemberHeartbeat{a}) == Errc::kOk);
}

TEST_CASE("random histories keep the invariants, and epochs and sessions never fall", "[metad][controller]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto one_of = [&](std::uint32_t count) { return random() % count; };
  Script s;
  std::map<std::uint16_t, std::string> settled;
  auto before = s.partitions();
  std::vector<SessionId> sessions{SessionId{0}};
  std::int64_t now = 0;
  for (int i = 0; i < 1500; ++i) {
    now += one_of(60);
    const std::string name = std::string(1, static_cast<char>('a' + one_of(5)));
    switch (one_of(8)) {
      case 0:
        sessions.push_back(s.worker(now, name));
        break;
      case 1:
        s.at(now, CreateQueue{"q" + std::to_string(one_of(200)), {}, true});
        break;
      case 2:
        s.at(now, DeleteQueue{"q" + std::to_string(one_of(200))});
        break;
      case 3:
        s.at(now, ControllerTick{});
        break;
      default:
        s.at(now, MemberHeartbeat{sessions[sessions.size() - 1 - one_of(static_cast<std::uint32_t>(sessions.size()))]});
    }
    const auto after = s.partitions();
    for (std::size_t p = 0; p < after.size(); ++p) {
      CHECK(after[p].epoch >= before[p].epoch);
      if (after[p].leader != before[p].leader) CHECK(after[p].epoch > before[p].epoch);
    }
    before = after;
    for (const CatalogChange& change : s.last().changes) {
      const auto* queue = std::get_if<QueueInfo>(&change);
      if (queue != nullptr && !after[queue->partition.value].leader.empty()) {
        settled.emplace(queue->partition.value, after[queue->partition.value].leader);
      }
    }
    for (const auto& [partition, leader] : settled) CHECK(home_of(after[partition]) == leader);
  }
}
