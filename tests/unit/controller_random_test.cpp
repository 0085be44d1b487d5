// Random histories of a whole cluster: the invariants after each step, and that no confirmed message can be lost.
#include <map>
#include <random>
#include <set>

#include "controller_script.hpp"
#include "metad/in_sync.hpp"

using namespace dmq;

namespace {

constexpr std::uint16_t kPartitions = 5;
constexpr int kWorkers = 6;
constexpr int kQueues = 12;

// What replication makes of metad's word, as simple as can be: while enough are in sync a partition confirms one more
// message at a time, and it is on all who are in sync. Whoever joins has caught up.
struct Data {
  int confirmed = 0;
  std::map<std::string, int> on;
};

class History {
 public:
  explicit History(std::uint32_t seed)
      : random_(seed), controller_(Script::first_image(kPartitions, {77, 2, 1}), settings()) {}

  void run(int events) {
    for (int i = 0; i < events; ++i) {
      now_ += below(30);
      const ControllerEvent event = some_event();
      if (below(50) == 0) {
        undone(event);
      } else {
        done(event);
      }
      confirm();
    }
  }
  // Everybody is well again: all that can be led is led, by whom it should, and held by as many as it should.
  void heal();

 private:
  static Controller::Settings settings() {
    return {.heartbeat = DurationMs{100},
            .missed_heartbeats = 3,
            .feed_endpoint = "inproc://feed",
            .handover_after = DurationMs{400},
            .replace_after = DurationMs{1500}};
  }
  int below(int count) { return static_cast<int>(random_() % static_cast<unsigned>(count)); }
  bool chance(int percent) { return below(100) < percent; }
  std::string some_worker() { return {static_cast<char>('a' + below(kWorkers))}; }
  PartitionId some_partition() { return {static_cast<std::uint16_t>(below(kPartitions))}; }
  std::string some_queue() { return "q" + std::to_string(below(kQueues)); }

  ControllerEvent some_event();
  ControllerEvent some_operator_event();
  RegisterMember some_registration();
  AlterInSync some_proposal();
  AlterInSync everybody(const PartitionInfo& now) const;
  void done(const ControllerEvent& event);
  void undone(const ControllerEvent& event);
  void follow(const CatalogChange& change);
  void confirm();
  void call_all();
  ControllerEffects step(const ControllerEvent& event) {
    return controller_.step({TimeMs{now_}, TimeMs{1'000'000 + now_}}, event);
  }
  void must(bool good, const std::string& what) const {
    if (!good) FAIL(what);
  }

  std::mt19937 random_;
  Controller controller_;
  std::int64_t now_ = 0;
  CatalogSnapshot known_;  // after the last step
  std::map<std::string, int> stores_;
  std::map<std::uint16_t, Data> data_;
  std::set<std::uint16_t> settled_;  // partitions that hold data
  std::map<std::pair<std::uint16_t, std::uint32_t>, std::pair<std::string, SessionId>> leaders_;
  std::vector<AlterInSync> old_proposals_;
};

RegisterMember History::some_registration() {
  const std::string name = some_worker();
  if (chance(10)) {
    ++stores_[name];
    for (auto& [id, data] : data_) data.on[name] = 0;
  }
  RegisterMember member = ReplicaScript::member(name, true, "store-" + std::to_string(stores_[name]));
  member.zone = name < "c" ? "north" : "south";
  if (chance(10)) {
    member.clean = false;
    for (auto& [id, data] : data_) data.on[name] = 0;
  }
  return member;
}

AlterInSync History::everybody(const PartitionInfo& now) const {
  AlterInSync alter{now.leader_session, now.id, now.epoch, now.version, {}};
  for (const WorkerInfo& worker : known_.workers) {
    if (lists(now.replicas, worker.name)) alter.in_sync.push_back({worker.name, worker.session});
  }
  return alter;
}

AlterInSync History::some_proposal() {
  if (!old_proposals_.empty() && chance(15)) return old_proposals_[random_() % old_proposals_.size()];
  const PartitionInfo& now = known_.partition_infos.at(some_partition().value);
  AlterInSync alter = everybody(now);
  std::erase_if(alter.in_sync, [&](const InSyncMember& member) { return member.name != now.leader && chance(25); });
  if (chance(5)) std::erase_if(alter.in_sync, [&](const InSyncMember& member) { return member.name == now.leader; });
  if (chance(5) && !alter.in_sync.empty()) --alter.in_sync.back().session.value;
  if (old_proposals_.size() < 100) old_proposals_.push_back(alter);
  return alter;
}

ControllerEvent History::some_operator_event() {
  switch (below(7)) {
    case 0: {
      const auto factor = static_cast<std::uint8_t>(1 + below(4));
      return SetCluster{factor, static_cast<std::uint8_t>(1 + below(factor))};
    }
    case 1:
      return DrainWorker{some_worker(), chance(30)};
    case 2:
      return FenceWorker{some_worker(), chance(30)};
    case 3:
      return ForgetWorker{some_worker()};
    case 4:
      return ForceLeader{some_partition(), some_worker(), chance(50)};
    default: {
      MovePartition move{some_partition(), {}};
      const auto count = chance(20) ? 0 : known_.cluster.replication_factor;
      for (int i = 0; i < count; ++i) move.replicas.push_back(some_worker());
      return move;
    }
  }
}

ControllerEvent History::some_event() {
  if (known_.workers.empty()) return some_registration();
  const int what = below(100);
  if (what < 10) return some_registration();
  if (what < 40) {
    if (chance(90)) call_all();
    return ControllerTick{};
  }
  if (what < 70) return some_proposal();
  if (what < 74) return some_operator_event();
  if (what < 78) return CreateQueue{some_queue(), {}, true};
  if (what < 80) return DeleteQueue{some_queue()};
  const PartitionInfo& now = known_.partition_infos.at(some_partition().value);
  if (what < 83) return ResignLeader{now.leader_session, now.id, now.epoch};
  const WorkerInfo& worker = known_.workers[random_() % known_.workers.size()];
  if (what < 85) return ReportUnclean{worker.session, now.id, false, now.version};
  if (what < 86) return ReportUnclean{worker.session, now.id, true, now.version};
  return MemberHeartbeat{worker.session};
}

// Most of those who live call metad; others are silent for a while.
void History::call_all() {
  for (const WorkerInfo& worker : known_.workers) {
    if (worker.alive && static_cast<std::size_t>(now_ / 2'000 % 9) != worker.name.size() + worker.name[0] % 4) {
      step(MemberHeartbeat{worker.session});
    }
  }
}

void History::undone(const ControllerEvent& event) {
  if (std::holds_alternative<RegisterMember>(event) || std::holds_alternative<ReportUnclean>(event)) return done(event);
  const CatalogCounters before = controller_.counters();
  step(event);
  controller_.undo();
  controller_.check_invariants();
  check_same(controller_.snapshot(), known_);
  must(controller_.counters() == before, "an undone step leaves the counters");
}

void History::done(const ControllerEvent& event) {
  const ControllerEffects effects = step(event);
  controller_.keep();
  controller_.check_invariants();
  const auto* force = std::get_if<ForceLeader>(&event);
  if (force != nullptr && effects.reply && std::holds_alternative<PartitionInfo>(*effects.reply)) {
    Data& data = data_[force->partition.value];
    const PartitionInfo& before = known_.partition_infos.at(force->partition.value);
    const bool complete = lists(before.in_sync, force->worker) || lists(before.eligible, force->worker);
    if (!complete) data.confirmed = data.on[force->worker];  // the loss that was accepted
  }
  for (const CatalogChange& change : effects.changes) follow(change);
  known_ = controller_.snapshot();
}

void History::follow(const CatalogChange& change) {
  if (const auto* queue = std::get_if<QueueInfo>(&change)) settled_.insert(queue->partition.value);
  const auto* next = std::get_if<PartitionInfo>(&change);
  if (next == nullptr || known_.partition_infos.empty()) return;
  const PartitionInfo& before = known_.partition_infos.at(next->id.value);
  must(next->version > before.version, "a version grows with each change");
  must(next->epoch >= before.epoch, "an epoch never falls");
  const auto leader = std::pair(next->leader, next->leader_session);
  const auto [term, is_new] = leaders_.emplace(std::pair(next->id.value, next->epoch.value), leader);
  must(is_new || term->second == leader, "an epoch has one leader");
  Data& data = data_[next->id.value];
  for (const std::string& name : next->unclean) data.on[name] = 0;
  for (const std::string& name : next->in_sync) {
    if (!lists(before.in_sync, name) && !lists(before.eligible, name)) data.on[name] = data.confirmed;
  }
}

void History::confirm() {
  for (const PartitionInfo& now : known_.partition_infos) {
    if (!settled_.contains(now.id.value)) continue;
    Data& data = data_[now.id.value];
    for (const auto* set : {&now.in_sync, &now.eligible}) {
      for (const std::string& name : *set) {
        must(data.on[name] == data.confirmed, "who is in sync or eligible has all that is confirmed");
      }
    }
    if (now.leader.empty() || now.in_sync.size() < now.min_in_sync) continue;
    ++data.confirmed;
    for (const std::string& name : now.in_sync) data.on[name] = data.confirmed;
  }
}

void History::heal() {
  done(SetCluster{2, 1});
  for (const WorkerInfo& worker : std::vector(known_.workers)) {
    done(DrainWorker{worker.name, false});
    done(FenceWorker{worker.name, false});
    RegisterMember member = ReplicaScript::member(worker.name, true, worker.store_id);
    member.zone = worker.zone;
    done(member);
  }
  for (const PartitionInfo& each : std::vector(known_.partition_infos)) {
    if (each.leader.empty() && !each.replicas.empty()) done(ForceLeader{each.id, each.replicas.front(), true});
    done(MovePartition{each.id, {}});
  }
  for (int i = 0; i < 400; ++i) {
    now_ += 50;
    for (const WorkerInfo& worker : std::vector(known_.workers)) step(MemberHeartbeat{worker.session});
    for (const PartitionInfo& each : std::vector(known_.partition_infos)) {
      for (const WorkerInfo& worker : std::vector(known_.workers)) {
        if (lists(each.unclean, worker.name)) done(ReportUnclean{worker.session, each.id, true, each.version});
      }
      done(everybody(known_.partition_infos.at(each.id.value)));
    }
    done(ControllerTick{});
    confirm();
  }
  for (const PartitionInfo& each : known_.partition_infos) {
    must(each.leader == each.replicas.front(), "the preferred leader leads");
    must(each.replicas.size() == 2 && each.in_sync == each.replicas, "there are as many replicas as are wanted");
    must(each.target.empty() && each.eligible.empty(), "nothing moves and nothing is missing");
  }
}

}  // namespace

TEST_CASE("random histories of a cluster lose nothing confirmed and come to rest", "[metad][controller]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  for (std::uint32_t i = 0; i < 40; ++i) {
    INFO("history " << i);
    History history(seed + i);
    history.run(6'000);
    history.heal();
  }
}
