// The commits of a simulated worker, and what it sends: Worker::advance_commits and what follows from it.
#include "tests/sim/node.hpp"
#include "tests/sim/node_process.hpp"

namespace dmq::sim {
namespace {

constexpr DurationMs kEffectsWait{20};

}  // namespace

void Node::advance_commits() {
  Process& process = *process_;
  if (process.outcome) {
    const Result<void> outcome = *process.outcome;
    process.outcome.reset();
    const auto done = std::move(process.committing);
    finish(*done, outcome);
  }
  if (process.committing == nullptr && commit_is_due()) commit_gathered();
}

bool Node::commit_is_due() {
  const Turn& turn = process_->gathering->turn;
  if (turn.urgent()) return true;
  if (turn.empty()) {
    process_->effects_due = now_.steady + kEffectsWait;
    return false;
  }
  return now_.steady >= process_->effects_due;
}

void Node::commit_gathered() {
  Process& process = *process_;
  wires_.turned(*this);  // before effects take from the disk what was committed a moment ago
  process.service->seal(process.gathering->turn, now_, process.out);
  for (PeerFrame& frame : process.out.peers) wires_.peer(*this, std::move(frame));  // side by side with our own commit
  process.out.peers.clear();
  auto gathered = std::exchange(process.gathering, std::make_unique<Gathered>());
  process.effects_due = now_.steady + kEffectsWait;
  const bool small = gathered->requests <= 1 || gathered->turn.writes.empty();
  if (small && world_.random.chance(settings_.inline_commits)) {
    const Result<void> outcome = outcome_of(gathered->turn);
    write(*gathered, outcome);
    return finish(*gathered, outcome);
  }
  process.committing = std::move(gathered);
  process.stored = false;
  // It may be seen on the disk before the loop hears of it.
  const std::int64_t stored_at = world_.now() + world_.random.between(0, settings_.commit_ms);
  const std::int64_t known_at = world_.random.chance(0.5) ? stored_at : stored_at + world_.random.between(0, 3);
  world_.at(stored_at, [this, known_at, life = life_] {
    if (life != life_ || !up()) return;
    const Result<void> outcome = outcome_of(process_->committing->turn);
    if (settings_.seen_early && known_at > world_.now()) synced_ = disk;
    write(*process_->committing, outcome);
    process_->stored = true;
    world_.at(known_at, [this, outcome, life] {
      if (life != life_ || !up()) return;
      synced_.reset();
      process_->outcome = outcome;
      wake();
    });
  });
}

// Without messages a commit has the log's reserve to be written with, mostly.
Result<void> Node::outcome_of(const Turn& turn) {
  if (world_.now() >= full_until_) return {};
  bool messages = false;
  for (const PutRecord& put : turn.writes.records) messages |= put.record.header.type == RecordType::kMessage;
  if (!messages && world_.random.chance(0.8)) return {};
  return fail(Errc::kInsufficientStorage, "the disk is full");
}

void Node::write(const Gathered& gathered, const Result<void>& outcome) {
  world_.note(outcome ? "commit" : "commit fails", self_, gathered.turn.writes.records.size(),
              gathered.turn.effects.removals.size());
  if (outcome) disk.commit(gathered.turn.effects, gathered.turn.writes);
}

// As Worker::finish.
void Node::finish(Gathered& gathered, const Result<void>& outcome) {
  Process& process = *process_;
  now_ = clock();
  if (outcome) return process.service->committed(gathered.turn, now_, process.gathering->turn, process.out);
  auto since = std::exchange(process.gathering, std::make_unique<Gathered>());
  gathered.turn.absorb(std::move(since->turn));
  process.service->failed(gathered.turn, outcome.error(), now_, process.gathering->turn, process.out);
}

void Node::send_all() {
  Process& process = *process_;
  if (process.out.empty()) return;
  for (const std::string& notice : std::exchange(process.out.notices, {})) {
    if (notice.find("is not what other workers have") != std::string::npos) violated(name_ + ": " + notice);
  }
  for (PeerFrame& frame : std::exchange(process.out.peers, {})) wires_.peer(*this, std::move(frame));
  const auto follow = [this](const MetadReplyBody& answer) {
    const auto* partition = std::get_if<PartitionInfo>(&answer);
    if (partition == nullptr) return;
    auto followed = process_->service->proposal_answered(*partition, now_, process_->gathering->turn, process_->out);
    if (!followed) stop(followed.error());
  };
  for (AlterInSync& proposal : std::exchange(process.out.proposals, {})) {
    world_.note("proposal", self_, proposal.version.value, proposal.in_sync.size());
    process.tie->request(std::move(proposal), now_.steady, follow);
  }
  for (const ReportUnclean& report : std::exchange(process.out.reports, {})) {
    world_.note("unclean", self_, report.partition.value, report.repaired ? 1 : 0);
    process.tie->request(report, now_.steady, [this, follow](const MetadReplyBody& answer) {
      const auto* partition = std::get_if<PartitionInfo>(&answer);
      if (partition != nullptr) process_->service->report_answered(*partition, now_, process_->out);
      follow(answer);
    });
  }
  for (const ResignLeader& resignation : std::exchange(process.out.resignations, {})) {
    world_.note("resigns", self_, resignation.epoch.value);
    process.tie->request(resignation, now_.steady, [](const MetadReplyBody&) {});
  }
  for (Reply& reply : std::exchange(process.out.replies, {})) wires_.reply(*this, std::move(reply));
}

}  // namespace dmq::sim
