// Drives the controller as a script: events in, replies and the state of partitions out.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "metad/controller.hpp"

namespace dmq {

// A controller whose changes are kept as a disk would keep them. Invariants are checked after every step.
class Script {
 public:
  Script() : Script(first_image(64)) {}
  explicit Script(CatalogImage image) : Script(std::move(image), settings()) {}
  Script(CatalogImage image, Controller::Settings set)
      : stored_(image), controller_(std::move(image), std::move(set)) {}

  static CatalogImage first_image(std::uint16_t partitions, ClusterInfo cluster = {77, 1, 1}) {
    CatalogImage image;
    image.counters.partitions = partitions;
    image.records = {cluster};
    return image;
  }
  static Controller::Settings settings() {
    return {.heartbeat = DurationMs{100}, .missed_heartbeats = 3, .feed_endpoint = "inproc://feed"};
  }

  MetadReplyBody at(std::int64_t ms, const ControllerEvent& event) {
    const CatalogVersion before = controller_.counters().version;
    last_ = controller_.step({TimeMs{ms}, TimeMs{1'000'000 + ms}}, event);
    controller_.keep();
    controller_.check_invariants();
    if (controller_.counters().version.value != before.value + last_.changes.size()) FAIL("a change has a version");
    stored_.counters = controller_.counters();
    stored_.records.insert(stored_.records.end(), last_.changes.begin(), last_.changes.end());
    return last_.reply.value_or(Done{});
  }
  SessionId worker(std::int64_t ms, const std::string& name) {
    return std::get<Registered>(
               at(ms, RegisterMember{RegisterMember::Role::kWorker, name, "inproc://" + name, "commit"}))
        .session;
  }
  SessionId router(std::int64_t ms, const std::string& name) {
    return std::get<Registered>(at(ms, RegisterMember{RegisterMember::Role::kRouter, name, "", ""})).session;
  }
  QueueInfo create(std::int64_t ms, const std::string& name) {
    return std::get<QueueInfo>(at(ms, CreateQueue{name, {}, false}));
  }
  Errc error(std::int64_t ms, const ControllerEvent& event) {
    const auto reply = at(ms, event);
    const auto* error = std::get_if<Error>(&reply);
    return error == nullptr ? Errc::kOk : error->code;
  }
  bool alive(const std::string& worker) const {
    for (const WorkerInfo& info : controller_.snapshot().workers) {
      if (info.name == worker) return info.alive;
    }
    return false;
  }
  std::vector<PartitionInfo> partitions() const { return controller_.snapshot().partition_infos; }
  std::size_t led_by(const std::string& worker) const {
    std::size_t count = 0;
    for (const PartitionInfo& partition : partitions()) count += partition.leader == worker ? 1 : 0;
    return count;
  }
  // The controller that a restart makes of what was stored; only the last record of each key, as the store keeps it.
  Script restarted() const {
    CatalogCopy copy;
    CatalogSnapshot empty;
    empty.partitions = stored_.counters.partitions;
    copy.apply(empty);
    copy.apply(CatalogUpdate{0, {0}, stored_.counters.version, stored_.records});
    CatalogImage image{stored_.counters, {}};
    for (const auto& [name, queue] : copy.queues()) image.records.emplace_back(queue);
    for (const CatalogChange& record : stored_.records) {
      if (std::holds_alternative<QueueDeleted>(record)) image.records.push_back(record);
    }
    for (std::uint16_t i = 0; i < empty.partitions; ++i)
      image.records.emplace_back(*copy.find_partition(PartitionId{i}));
    for (const auto& [name, worker] : copy.workers()) image.records.emplace_back(worker);
    image.records.emplace_back(copy.cluster());
    return Script(std::move(image));
  }
  const ControllerEffects& last() const { return last_; }
  Controller& controller() { return controller_; }

 protected:
  CatalogImage stored_;
  Controller controller_;
  ControllerEffects last_;
};

// A cluster whose workers can replicate, and one partition of it in words: "a+2 [a b] (c) of a b c > b c d" means that
// a leads in the second epoch after the start, that a and b are in sync and c eligible, and that it moves to b, c and
// d.
class ReplicaScript : public Script {
 public:
  // Workers a, b, c... by `names`, each a replica of partition 0 by preference in this order, all in sync.
  ReplicaScript(const std::string& names, std::uint8_t min_in_sync, Controller::Settings set = settings())
      : Script(first_image(1, {77, static_cast<std::uint8_t>(names.size()), min_in_sync}), std::move(set)) {
    for (const char name : names) come(std::string(1, name));
    move(names);
    create(now_, "q");
    join(names);
    start_ = info().epoch;
  }

  ReplicaScript(CatalogImage image, Controller::Settings set) : Script(std::move(image), std::move(set)) {}

  MetadReplyBody ask(const ControllerEvent& event) { return at(now_, event); }
  // The code and sentence of a refusal; empty for any other answer.
  std::string refusal(const ControllerEvent& event) {
    const auto reply = ask(event);
    const auto* error = std::get_if<Error>(&reply);
    return error == nullptr ? "" : std::string(code_name(error->code)) + ": " + error->context;
  }

  static RegisterMember member(const std::string& name, bool clean = true, const std::string& store = "",
                               const std::string& zone = "") {
    return {RegisterMember::Role::kWorker,
            name,
            "inproc://" + name,
            "commit",
            zone,
            "inproc://" + name + "-log",
            "inproc://" + name + "-peer",
            store.empty() ? "store of " + name : store,
            clean};
  }
  SessionId come(const std::string& name) { return come(member(name)); }
  SessionId come(const RegisterMember& worker) { return std::get<Registered>(ask(worker)).session; }
  // The named ones stay silent until they are taken for dead; all others call.
  void lose(const std::string& names) { pass(400, names); }
  // Time passes, in steps of a tick; all but the `silent` ones call.
  void pass(std::int64_t ms, const std::string& silent = "") {
    for (const std::int64_t until = now_ + ms; now_ < until;) {
      now_ += 50;
      for (const WorkerInfo& worker : controller_.snapshot().workers) {
        if (worker.alive && silent.find(worker.name) == std::string::npos) ask(MemberHeartbeat{worker.session});
      }
      ask(ControllerTick{});
    }
  }

  SessionId session(const std::string& name) const {
    for (const WorkerInfo& worker : controller_.snapshot().workers) {
      if (worker.name == name) return worker.session;
    }
    return {};
  }
  PartitionInfo info(std::uint16_t partition = 0) const { return partitions().at(partition); }

  // The leader proposes these to be in sync.
  AlterInSync proposal(const std::string& names) const {
    const PartitionInfo now = info();
    AlterInSync alter{now.leader_session, now.id, now.epoch, now.version, {}};
    for (const char name : names) {
      alter.in_sync.push_back({std::string(1, name), session(std::string(1, name))});
    }
    return alter;
  }
  std::string join(const std::string& names) { return alter(proposal(names)); }
  std::string alter(const AlterInSync& proposal) { return text(ask(proposal)); }
  std::string resign() { return text(ask(ResignLeader{info().leader_session, {0}, info().epoch})); }
  std::string unclean(const std::string& name) {
    return text(ask(ReportUnclean{session(name), {0}, false, info().version}));
  }
  std::string repaired(const std::string& name) {
    return text(ask(ReportUnclean{session(name), {0}, true, info().version}));
  }
  std::string force(const std::string& name, bool accept_loss = false) {
    return text(ask(ForceLeader{{0}, name, accept_loss}));
  }
  std::string fence(const std::string& name, bool on = true) {
    ask(FenceWorker{name, on});
    return state();
  }
  std::string move(const std::string& names) {
    MovePartition move{{0}, {}};
    for (const char name : names) move.replicas.emplace_back(1, name);
    return text(ask(move));
  }

  std::string state() const { return text(info()); }
  // With who holds it and where it moves.
  std::string holders() const {
    const PartitionInfo now = info();
    return state() + " of " + joined(now.replicas) + (now.target.empty() ? "" : " > " + joined(now.target));
  }

 private:
  static std::string joined(const std::vector<std::string>& names) {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : " ") + name;
    return out;
  }
  std::string text(const MetadReplyBody& reply) const {
    if (const auto* error = std::get_if<Error>(&reply)) return std::string(code_name(error->code));
    return text(std::get<PartitionInfo>(reply));
  }
  std::string text(const PartitionInfo& partition) const {
    return (partition.leader.empty() ? "nobody" : partition.leader) + "+" +
           std::to_string(partition.epoch.value - start_.value) + " [" + joined(partition.in_sync) + "]" +
           (partition.eligible.empty() ? "" : " (" + joined(partition.eligible) + ")") +
           (partition.unclean.empty() ? "" : " -" + joined(partition.unclean));
  }

  std::int64_t now_ = 0;
  Epoch start_;
};

inline void check_same(const CatalogSnapshot& a, const CatalogSnapshot& b) {
  CHECK(a.version == b.version);
  CHECK(a.queues == b.queues);
  CHECK(a.deleted == b.deleted);
  CHECK(a.partition_infos == b.partition_infos);
  CHECK(a.workers == b.workers);
  CHECK(a.cluster == b.cluster);
}

}  // namespace dmq
