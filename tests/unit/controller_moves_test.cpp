// Who holds a partition: placement of what is empty, moves of what is not, draining, and how many replicas there are.
#include <map>
#include <set>

#include "controller_script.hpp"
#include "protocol/partitioner.hpp"

using namespace dmq;
using Names = std::vector<std::string>;

namespace {

// A cluster with many partitions whose workers copy what they are to hold as fast as a tick.
class Cluster : public ReplicaScript {
 public:
  explicit Cluster(std::uint8_t factor, std::uint8_t min_in_sync = 1, std::uint16_t partitions = 32)
      : ReplicaScript(first_image(partitions, {77, factor, min_in_sync}), quick()) {}

  static Controller::Settings quick() {
    Controller::Settings set = settings();
    set.handover_after = DurationMs{200};
    set.replace_after = DurationMs{5'000};
    return set;
  }
  // A queue in each partition, so that each holds data.
  void settle_all() {
    std::set<std::uint16_t> settled;
    for (int i = 0; settled.size() < partitions().size(); ++i) {
      const std::string name = "q" + std::to_string(i);
      if (settled.insert(partition_of(name, static_cast<std::uint16_t>(partitions().size())).value).second) {
        ask(CreateQueue{name, {}, false});
      }
    }
  }
  // Every replica that lives catches up with its leader.
  void copy() {
    for (const PartitionInfo& now : partitions()) {
      AlterInSync alter{now.leader_session, now.id, now.epoch, now.version, {}};
      for (const std::string& name : now.replicas) {
        if (alive(name)) alter.in_sync.push_back({name, session(name)});
      }
      ask(alter);
    }
  }
  // Time passes and everything is copied, until nothing changes any more.
  void calm_down(const std::string& silent = "") {
    for (int round = 0; round < 200; ++round) {
      const CatalogVersion before = controller_.counters().version;
      copy();
      pass(1'000, silent);
      most_moves_ = std::max(most_moves_, moves());
      if (controller_.counters().version == before) return;
    }
    FAIL("the cluster does not come to rest");
  }
  std::size_t moves() const {
    std::size_t count = 0;
    for (const PartitionInfo& partition : partitions()) count += partition.target.empty() ? 0 : 1;
    return count;
  }
  std::size_t most_moves() const { return most_moves_; }
  std::size_t waiting() { return std::get<CatalogSnapshot>(ask(GetSnapshot{})).waiting; }
  std::size_t held_by(const std::string& name) const {
    std::size_t count = 0;
    for (const PartitionInfo& partition : partitions()) count += lists(partition.replicas, name) ? 1 : 0;
    return count;
  }
  void check_even(std::size_t factor) const {
    for (const PartitionInfo& partition : partitions()) {
      INFO("partition " << partition.id.value);
      CHECK(partition.replicas.size() == factor);
      CHECK(partition.in_sync == partition.replicas);
      CHECK(partition.target.empty());
      CHECK(partition.leader == partition.replicas.front());
    }
  }

 private:
  std::size_t most_moves_ = 0;
};

}  // namespace

// --- without data --------------------------------------------------------------------------------------------------

TEST_CASE("an empty partition is placed in one step, in sync with its leader only", "[metad][controller]") {
  Cluster s(2);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  for (const PartitionInfo& partition : s.partitions()) {
    CHECK(partition.replicas.size() == 2);
    CHECK(partition.leader == partition.replicas.front());
    CHECK(partition.in_sync == Names{partition.leader});
    CHECK(partition.target.empty());
  }
}

TEST_CASE("replicas of an empty partition are chosen in different zones", "[metad][controller]") {
  Cluster s(2);
  for (const char* name : {"a", "b", "c"}) s.come(ReplicaScript::member(name, true, "", "north"));
  s.come(ReplicaScript::member("d", true, "", "south"));
  for (const PartitionInfo& partition : s.partitions()) CHECK(lists(partition.replicas, "d"));
}

TEST_CASE("an empty partition whose leader stays keeps its epoch when its followers change", "[metad][controller]") {
  Cluster s(3);
  s.come("a");
  const auto before = s.partitions();
  s.come("b");
  for (std::size_t i = 0; i < before.size(); ++i) {
    const PartitionInfo after = s.info(static_cast<std::uint16_t>(i));
    CHECK(after.replicas.size() == 2);
    CHECK(after.epoch.value == before[i].epoch.value + (after.leader == "a" ? 0 : 1));
  }
}

TEST_CASE("a worker without endpoints for replication holds partitions only alone", "[metad][controller]") {
  Cluster s(2);
  s.worker(0, "plain");
  CHECK(s.info().replicas == Names{"plain"});
  s.come("a");
  s.come("b");
  for (const PartitionInfo& partition : s.partitions()) CHECK_FALSE(lists(partition.replicas, "plain"));
}

// --- with data -----------------------------------------------------------------------------------------------------

TEST_CASE("a partition with one replica waits for its worker for ever", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  s.lose("a");
  s.come("b");
  s.calm_down();
  s.pass(60'000);
  for (const PartitionInfo& partition : s.partitions()) {
    CHECK(partition.replicas == Names{"a"});
    CHECK(partition.eligible == Names{"a"});
    CHECK(partition.leader.empty());
  }
  CHECK(s.refusal(MovePartition{{0}, {"b"}}) ==
        "unavailable: nobody leads partition 0, so there is nothing to copy from; its data waits where it is");
  s.come("a");
  CHECK(s.led_by("a") == 32);
}

TEST_CASE("a worker that comes takes its share by copying, a few partitions at once", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  s.come("b");
  CHECK(s.held_by("b") == 0);
  s.pass(100);
  CHECK(s.moves() == kMovesMax);
  for (const PartitionInfo& partition : s.partitions()) {
    CHECK(partition.leader == "a");  // until the other one has everything
    if (!partition.target.empty()) CHECK(partition.replicas == Names{"a", "b"});
  }
  s.calm_down();
  s.check_even(1);
  CHECK(s.most_moves() <= kMovesMax);
  CHECK(s.held_by("a") + s.held_by("b") == 32);
  CHECK(s.held_by("b") > 8);
}

TEST_CASE("a move ends when all of the target are in sync: another leads in a new epoch, others are let go",
          "[metad][controller]") {
  ReplicaScript s("ab", 2);
  s.come("c");
  s.come("d");
  CHECK(s.move("cd") == "a+0 [a b]");
  CHECK(s.holders() == "a+0 [a b] of a b c d > c d");
  CHECK(s.join("abc") == "a+0 [a b c]");
  CHECK(s.holders() == "a+0 [a b c] of a b c d > c d");
  CHECK(s.join("abcd") == "c+1 [c d]");
  CHECK(s.holders() == "c+1 [c d] of c d");
}

TEST_CASE("a move that only puts replicas in another order copies nothing", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.move("cab");
  CHECK(s.holders() == "a+0 [c a b] of c a b");
  s.pass(5'500);
  CHECK(s.state() == "c+1 [c a b]");
}

TEST_CASE("during a move a leader that is lost is replaced, and the move goes on", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.come("c");
  s.move("bc");
  s.lose("a");
  CHECK(s.holders() == "b+1 [b] of a b c > b c");
  CHECK(s.join("bc") == "b+1 [b c]");
  CHECK(s.holders() == "b+1 [b c] of b c");
}

TEST_CASE("a move goes where the operator says last", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  for (const char* name : {"c", "d"}) s.come(name);
  s.move("bc");
  s.move("bd");
  CHECK(s.holders() == "a+0 [a b] of a b d > b d");
  s.move("ab");  // back
  CHECK(s.holders() == "a+0 [a b] of a b");
}

TEST_CASE("a move elsewhere is made anew when its destination is lost", "[metad][controller]") {
  Controller::Settings set = Script::settings();
  set.replace_after = DurationMs{2'000};
  ReplicaScript s("ab", 1, set);
  for (const char* name : {"c", "d"}) s.come(name);
  s.move("bc");
  s.lose("c");
  s.pass(1'000);
  CHECK(lists(s.info().target, "c"));  // it may come back
  s.pass(1'000);
  CHECK_FALSE(lists(s.info().target, "c"));
  CHECK_FALSE(lists(s.info().replicas, "c"));
  CHECK(s.state() == "a+0 [a b]");
}

TEST_CASE("what an operator chose stays where it is, until it is given back", "[metad][controller]") {
  Cluster s(2, 1, 1);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  const Names own = s.info().replicas;
  Names other;
  for (const char* name : {"a", "b", "c"}) {
    if (own[0] != name) other.emplace_back(name);
  }
  s.ask(MovePartition{{0}, other});
  s.calm_down();
  CHECK(s.info().replicas == other);
  CHECK(s.info().pinned);
  s.ask(MovePartition{{0}, {}});
  s.calm_down();
  CHECK(s.info().replicas == own);
  CHECK_FALSE(s.info().pinned);
}

TEST_CASE("destinations that cannot be are refused, with the reason", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.come("c");
  s.come("d");
  s.ask(DrainWorker{"d", true});
  s.ask(RegisterMember{RegisterMember::Role::kWorker, "plain", "inproc://plain", "commit"});
  const auto refusal = [&](const Names& names) { return s.refusal(MovePartition{{0}, names}); };
  CHECK(refusal({"a"}) == "invalid_argument: the cluster keeps 2 replicas of each partition; name as many workers");
  CHECK(refusal({"a", "a"}) == "invalid_argument: worker 'a' is named twice");
  CHECK(refusal({"a", "x"}) == "invalid_argument: metad knows no worker 'x'");
  CHECK(refusal({"a", "d"}) == "invalid_argument: worker 'd' is being drained");
  CHECK(refusal({"a", "plain"}) == "unsupported: worker 'plain' offers no endpoints for replication");
  s.lose("c");
  CHECK(refusal({"a", "c"}) == "unavailable: worker 'c' is away or fenced");
  CHECK(s.holders() == "a+0 [a b] of a b");
}

TEST_CASE("operators are told how many partitions still have to move", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  CHECK(s.waiting() == 0);
  s.come("b");
  const std::size_t share = s.waiting();
  CHECK(share > kMovesMax);
  s.pass(100);
  CHECK(s.moves() == kMovesMax);
  CHECK(s.waiting() == share - kMovesMax);
  s.calm_down();
  CHECK(s.waiting() == 0);
  CHECK(s.held_by("b") == share);
}

TEST_CASE("an operator's move waits its turn like others", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  s.come("b");
  s.pass(100);
  CHECK(s.moves() == kMovesMax);
  for (const PartitionInfo& partition : s.partitions()) {
    if (!partition.target.empty()) continue;
    CHECK(s.refusal(MovePartition{partition.id, {"b"}}) ==
          "unavailable: 8 partitions move already; try again when one has arrived");
    break;
  }
}

TEST_CASE("a leader that cannot be followed is not moved from", "[metad][controller]") {
  Cluster s(1, 1, 1);
  s.worker(0, "plain");
  s.settle_all();
  s.come("b");
  s.calm_down();
  CHECK(s.info().replicas == Names{"plain"});
  CHECK(s.refusal(MovePartition{{0}, {"b"}}).starts_with("unsupported: the leader, 'plain', or a worker to come"));
}

TEST_CASE("more replicas are made when the factor is raised, and let go when it is lowered", "[metad][controller]") {
  Cluster s(1);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  s.ask(SetCluster{3, 2});
  s.calm_down();
  s.check_even(3);
  CHECK(s.most_moves() <= kMovesMax);
  s.ask(SetCluster{2, 1});
  s.calm_down();
  s.check_even(2);
}

TEST_CASE("replicas grow with the workers while there are fewer than wanted", "[metad][controller]") {
  Cluster s(3, 2);
  s.come("a");
  s.settle_all();
  for (const char* name : {"b", "c", "d"}) {
    s.come(name);
    s.calm_down();
  }
  s.check_even(3);
}

TEST_CASE("replicas of a worker that stays away are made elsewhere", "[metad][controller]") {
  Cluster s(2, 1);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  s.lose("c");
  s.pass(4'000);
  CHECK(s.held_by("c") > 0);
  s.calm_down();
  CHECK(s.held_by("c") == 0);
  s.check_even(2);
  s.come("c");
  s.calm_down();
  CHECK(s.held_by("c") > 0);
  s.check_even(2);
}

TEST_CASE("nothing moves to a worker that is away", "[metad][controller]") {
  Cluster s(2, 1);
  for (const char* name : {"a", "b", "c", "d"}) s.come(name);
  s.settle_all();
  s.calm_down();
  const std::vector<PartitionInfo> before = s.partitions();
  s.lose("d");
  s.ask(DrainWorker{"a", true});
  for (int round = 0; round < 8; ++round) {  // well before what d has is given up
    s.copy();
    s.pass(200, "d");
  }
  int moved = 0;
  for (const PartitionInfo& partition : s.partitions()) {
    INFO("partition " << partition.id.value);
    if (lists(before[partition.id.value].replicas, "d")) continue;  // d is waited for
    CHECK_FALSE(lists(partition.replicas, "d"));
    CHECK_FALSE(lists(partition.replicas, "a"));
    moved += lists(before[partition.id.value].replicas, "a") ? 1 : 0;
  }
  CHECK(moved > 0);
  s.come("d");
  s.calm_down();
  CHECK(s.held_by("a") == 0);
  s.check_even(2);
}

TEST_CASE("moves that wait for a worker that is away hold up no others", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  s.come("b");
  s.pass(100);
  REQUIRE(s.moves() == kMovesMax);
  s.lose("b");
  s.come("c");
  s.pass(200, "b");
  CHECK(s.moves() > kMovesMax);
  s.copy();
  s.pass(200, "b");
  CHECK(s.held_by("c") > 0);
}

TEST_CASE("without another worker to take its place a dead replica stays listed", "[metad][controller]") {
  Cluster s(2, 2);
  for (const char* name : {"a", "b"}) s.come(name);
  s.settle_all();
  s.calm_down();
  s.lose("b");
  s.pass(20'000);
  CHECK(s.held_by("b") == 32);
}

// --- draining ------------------------------------------------------------------------------------------------------

TEST_CASE("a drained worker gives its leaderships away first and then its replicas", "[metad][controller]") {
  Cluster s(2, 1);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  const auto before = std::get<WorkerLoad>(s.ask(DrainWorker{"a", true}));
  CHECK(before.leads > 0);
  CHECK(before.holds > before.leads);
  s.pass(500);  // nothing is copied yet
  CHECK(std::get<WorkerLoad>(s.ask(DrainWorker{"a", true})) == WorkerLoad{0, before.holds});
  s.calm_down();
  CHECK(std::get<WorkerLoad>(s.ask(DrainWorker{"a", true})) == WorkerLoad{0, 0});
  s.check_even(2);
  s.ask(DrainWorker{"a", false});
  s.calm_down();
  CHECK(s.held_by("a") == before.holds);
}

TEST_CASE("a worker is drained as far as the others keep the replication factor", "[metad][controller]") {
  Cluster s(2, 1);
  for (const char* name : {"a", "b"}) s.come(name);
  s.settle_all();
  s.calm_down();
  s.ask(DrainWorker{"a", true});
  s.calm_down();
  CHECK(std::get<WorkerLoad>(s.ask(DrainWorker{"a", true})) == WorkerLoad{0, 32});
  s.come("c");
  s.calm_down();
  CHECK(std::get<WorkerLoad>(s.ask(DrainWorker{"a", true})) == WorkerLoad{0, 0});
}

TEST_CASE("the only copy leaves a drained worker when another one has it", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.settle_all();
  s.ask(DrainWorker{"a", true});
  s.pass(1'000);
  CHECK(s.led_by("a") == 32);
  s.come("b");
  s.calm_down();
  CHECK(s.held_by("a") == 0);
  s.check_even(1);
}

TEST_CASE("a drained worker leads when nobody else can", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.ask(DrainWorker{"a", true});
  s.pass(100);
  CHECK(s.state() == "b+1 [a b]");
  s.lose("b");
  CHECK(s.state() == "a+2 [a]");
}

TEST_CASE("empty partitions leave a drained worker at once", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.come("b");
  s.ask(DrainWorker{"a", true});
  CHECK(s.led_by("b") == 32);
  s.ask(DrainWorker{"b", true});
  CHECK(s.led_by("a") + s.led_by("b") == 32);
}

TEST_CASE("a move never leaves fewer in sync than are needed", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.come("c");
  s.come("d");
  s.ask(SetCluster{1, 1});
  s.move("c");
  s.ask(SetCluster{2, 2});
  CHECK(s.join("abc") == "a+0 [a b c]");
  CHECK(s.info().target == Names{"c"});
  s.pass(100);  // as many replicas as are wanted now
  s.join("abcd");
  CHECK(s.info().in_sync.size() >= 2);
  CHECK(s.info().target.size() != 1);
}

TEST_CASE("a move lets go of no complete copy while too few are in sync", "[metad][controller]") {
  ReplicaScript s("a", 1);
  s.come("c");
  s.ask(SetCluster{2, 2});
  s.ask(DrainWorker{"a", true});
  s.pass(100);
  REQUIRE(s.info().target == Names{"c"});
  s.join("ac");
  s.fence("a");
  s.pass(100);
  CHECK(s.state() == "c+1 [c] (a)");
  CHECK(s.info().replicas == Names{"a", "c"});
}

TEST_CASE("leaders are where they are preferred after everybody was away", "[metad][controller]") {
  Cluster s(3, 2);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  s.lose("abc");
  CHECK(s.led_by("") == 32);
  for (const char* name : {"b", "c", "a"}) s.come(name);
  s.calm_down();
  s.check_even(3);
}

// --- forgetting ------------------------------------------------------------------------------------------------------

TEST_CASE("a worker is forgotten when it is away and holds nothing", "[metad][controller]") {
  Cluster s(2, 1);
  for (const char* name : {"a", "b", "c"}) s.come(name);
  s.settle_all();
  s.calm_down();
  CHECK(s.refusal(ForgetWorker{"c"}) == "unavailable: worker 'c' is alive");
  s.lose("c");
  CHECK(s.refusal(ForgetWorker{"c"}) ==
        "unavailable: worker 'c' holds " + std::to_string(s.held_by("c")) + " partitions; drain it first");
  s.ask(DrainWorker{"c", true});
  s.calm_down();
  const std::size_t before = s.controller().snapshot().workers.size();
  CHECK(std::get<WorkerForgotten>(s.ask(ForgetWorker{"c"})).name == "c");
  CHECK(s.controller().snapshot().workers.size() == before - 1);
  check_same(s.controller().snapshot(), s.restarted().controller().snapshot());
  CHECK(std::get<WorkerForgotten>(s.ask(ForgetWorker{"c"})).name == "c");  // the first answer may be lost
  CHECK(s.last().changes.empty());
  s.come("c");  // no longer drained
  s.calm_down();
  CHECK(s.held_by("c") > 0);
}

TEST_CASE("a forgotten worker is known again when that could not be written", "[metad][controller]") {
  Cluster s(1);
  s.come("a");
  s.come("b");
  s.lose("b");
  const CatalogSnapshot before = s.controller().snapshot();
  s.controller().step({TimeMs{1'000}, TimeMs{1'000}}, ForgetWorker{"b"});
  CHECK(s.controller().snapshot().workers.size() == 1);
  s.controller().undo();
  s.controller().check_invariants();
  check_same(s.controller().snapshot(), before);
}
