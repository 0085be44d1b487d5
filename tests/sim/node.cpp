// The life of a simulated worker: start, restore, turns, death.
#include "tests/sim/node.hpp"

#include <algorithm>

#include "tests/sim/describe.hpp"
#include "tests/sim/node_process.hpp"

namespace dmq::sim {
namespace {

constexpr std::int64_t kSteadyStart = 1'000'000;

}  // namespace

Node::Node(World& world, Network& network, Metad& metad, Endpoint self, NodeSettings settings, const Wires& wires)
    : world_(world),
      network_(network),
      metad_(metad),
      self_(self),
      name_("n" + std::to_string(self)),
      settings_(settings),
      wires_(wires),
      alarm_(world, [this] { wake_up(); }) {}

Node::~Node() = default;

const Service* Node::service() const { return up() ? process_->service.get() : nullptr; }
const MetadTie* Node::tie() const { return up() ? process_->tie.get() : nullptr; }

Now Node::clock() const { return {{kSteadyStart + world_.now()}, {kWallStart.value + world_.now() + wall_offset_}}; }

void Node::start() {
  world_.note("node starts", self_, disk.store_id);
  ++life_;
  stopped_ = false;
  paused_until_ = 0;
  alarm_.cancel();
  process_ = std::make_unique<Process>();
  now_ = clock();
  RegisterMember self{RegisterMember::Role::kWorker, name_, name_, "commit"};
  self.log_endpoint = self.peer_endpoint = name_;
  self.store_id = "store " + std::to_string(disk.store_id);
  process_->tie = std::make_shared<MetadTie>(world_, network_, metad_, self_, std::move(self));
  process_->service = std::make_unique<Service>(name_, settings_.limits, process_->tie->catalog(), disk);
  process_->tie->begin(
      [this](const CatalogChange* change) {
        auto followed = process_->service->follow_catalog(process_->tie->session(), change, now_,
                                                          process_->gathering->turn, process_->out);
        if (!followed) stop(followed.error());
      },
      [this] { wake(); });
  restore();
  wake();
}

// As Worker::restore: the side rows stand before the records.
void Node::restore() {
  Service& service = *process_->service;
  for (const auto& [id, state] : disk.partitions) {
    const auto table = disk.epochs.find(id);
    service.restore_partition(id, state, table == disk.epochs.end() ? EpochTable() : table->second);
  }
  for (const auto& [key, state] : disk.producers) service.restore_producer(key, state);
  for (const auto& [place, below] : disk.dropped) service.restore_dropped(place, below);
  for (const auto& [place, bytes] : disk.records) {
    const auto header = read_record_header(bytes);
    if (!header) {
      service.restore_damaged(place);
      continue;
    }
    const auto returned = disk.returns.find(place);
    service.restore_record(place, *header, returned == disk.returns.end() ? ReturnState{} : returned->second, now_);
  }
}

void Node::stop(const Error& error) { violated(name_ + " stops: " + error.context); }

void Node::crash(bool keep_commit) {
  if (!up()) return;
  world_.note("node crashes", self_, keep_commit ? 1 : 0);
  const bool under_way = process_->committing && !process_->stored && !process_->outcome;
  if (under_way && keep_commit) write(*process_->committing, {});
  if (synced_ && !keep_commit) disk = std::move(*synced_);
  synced_.reset();
  process_.reset();
}

void Node::pause(std::int64_t ms) {
  world_.note("node pauses", self_, static_cast<std::uint64_t>(ms));
  paused_until_ = world_.now() + ms;
}

void Node::heal() {
  full_until_ = 0;
  settings_.commit_ms = 2;
  if (paused_until_ > world_.now()) paused_until_ = world_.now();
  if (!up()) return start();
  wake();
}

void Node::take_request(Endpoint router, Frames frames) {
  if (!up()) return;
  process_->requests.push_back({router, std::move(frames)});
  wake();
}

void Node::take_peer(std::shared_ptr<const PeerMessage> message, std::shared_ptr<const std::string> records) {
  if (!up()) return;
  process_->peers.push_back({std::move(message), std::move(records)});
  wake();
}

void Node::wake_up() {
  if (!up()) return;
  if (paused_until_ > world_.now()) return wake_at(paused_until_);
  turn();
}

// As Worker::turn.
void Node::turn() {
  now_ = clock();
  process_->tie->step(now_.steady);
  process_->service->hold_lease(process_->tie->leased_until(), now_, process_->out);
  drain_peers();
  drain_requests();
  process_->service->tick(now_, process_->gathering->turn, process_->out);
  advance_commits();
  send_all();
  wires_.turned(*this);
  schedule();
}

void Node::schedule() {
  const Process& process = *process_;
  TimeMs next = process.tie->next_deadline();
  const bool busy = process.committing != nullptr;
  if (!busy && process.gathering->turn.urgent()) next = now_.steady;
  if (!busy && !process.gathering->turn.empty()) next = std::min(next, process.effects_due);
  next = std::min(next, process.service->next_deadline().value_or(next));
  wake_at(std::max(next.value - kSteadyStart, world_.now()));
}

void Node::drain_peers() {
  Process& process = *process_;
  for (; !process.peers.empty(); process.peers.pop_front()) {
    auto& [message, records] = process.peers.front();
    const std::string_view bytes = records ? std::string_view(*records) : std::string_view();
    world_.note("from a peer", self_, message->body.index(), bytes.size());
    if (world_.tracing()) world_.trace(name_ + " hears " + describe(*message));
    if (process.service->handle_peer(*message, bytes, now_, process.gathering->turn, process.out) && records) {
      process.gathering->records.push_back(records);
    }
  }
}

void Node::drain_requests() {
  Process& process = *process_;
  for (; !process.requests.empty(); process.requests.pop_front()) {
    take(process.requests.front().router, process.requests.front().frames);
  }
}

// As Worker::take_request.
void Node::take(Endpoint router, Frames& frames) {
  Process& process = *process_;
  Gathered& gathered = *process.gathering;
  Request request;
  request.to = {std::string(1, static_cast<char>(router)), frames.envelope};
  const auto envelope = decode_envelope(request.to.envelope);
  request.envelope = *envelope;
  if (envelope->kind == EnvelopeKind::kUndeliverable) {
    return process.service->undeliverable(request.to.router, *envelope, frames.payload, now_, process.out);
  }
  set_envelope_kind(request.to.envelope.data(), EnvelopeKind::kReply);
  request.header = frames.header;
  request.payload = gathered.payloads.emplace_back(std::move(frames.payload));
  ++gathered.requests;
  if (process.service->handle(request, now_, gathered.turn, process.out)) return;
  set_envelope_kind(frames.envelope.data(), EnvelopeKind::kHandBack);
  wires_.reply(*this, {{request.to.router, frames.envelope}, frames.header, gathered.payloads.back()});
}

}  // namespace dmq::sim
