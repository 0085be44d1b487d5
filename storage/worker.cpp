// The turns of a worker.
#include "storage/worker.hpp"

#include <algorithm>
#include <map>

#include "runtime/clock.hpp"
#include "runtime/logging.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr std::size_t kTurnRecordsMax = 10'000;  // LMDB slows down beyond
constexpr std::uint64_t kTurnBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kDrainMax = 256;                 // requests a turn, so that time and commits get theirs
constexpr std::size_t kInlineRequestsMax = 1;          // alone, a commit inline saves the thread hop
constexpr std::uint64_t kInlineBytesMax = 256 * 1024;  // beyond, what comes meanwhile is taken meanwhile
constexpr DurationMs kSyncEvery{1000};
constexpr DurationMs kEffectsWait{20};

}  // namespace

Result<RecordView> TurnRecords::read(RecordPlace place) {
  if (auto refreshed = refresh(); !refreshed) return tl::unexpected<Error>(refreshed.error());
  auto record = reader_.read(place);
  if (!record && record.error().code == Errc::kUnavailable) failure_ = tl::unexpected<Error>(record.error());
  return record;
}

Result<void> TurnRecords::scan(RecordPlace from, const Visit& visit) {
  if (auto refreshed = refresh(); !refreshed) return refreshed;
  auto scanned = reader_.scan(from, visit);
  if (!scanned) failure_ = scanned;
  return scanned;
}

Result<void> TurnRecords::refresh() {
  if (fresh_) return {};
  if (auto refreshed = reader_.refresh(); !refreshed) {
    failure_ = refreshed;
    return fail(Errc::kUnavailable, refreshed.error().context);
  }
  fresh_ = true;
  return {};
}

void TurnRecords::release() {
  reader_.release();
  fresh_ = false;
}

Result<std::unique_ptr<Worker>> Worker::open(zmq::context_t& context, WorkerOptions options) {
  LogOptions log_options;
  log_options.directory = options.data_dir;
  log_options.sync = options.sync;
  log_options.on_damage = options.on_damage;
  // Address space only. Pages are seldom full and freed ones wait for reuse: room for acks when sends are refused.
  log_options.map_bytes = options.limits.store_bytes * 3 + (std::uint64_t{1} << 30);
  auto log = Log::open(log_options);
  if (!log) return tl::unexpected<Error>(log.error());
  if (!(*log)->notice().empty()) spdlog::error("{}", (*log)->notice());
  std::unique_ptr<Worker> worker(new Worker(context, std::move(options), std::move(*log)));
  auto bound = bind_socket(worker->socket_, worker->options_.listen);
  if (!bound) return tl::unexpected<Error>(bound.error());
  worker->endpoint_ = worker->options_.advertise.empty() ? *bound : worker->options_.advertise;
  auto peers = PeerLinks::open(context, worker->options_.peers);
  if (!peers) return tl::unexpected<Error>(peers.error());
  worker->peers_ = std::move(*peers);
  RegisterMember self{RegisterMember::Role::kWorker, worker->name_, worker->endpoint_,
                      std::string(sync_name(worker->options_.sync))};
  self.zone = worker->options_.zone;
  self.clean = !worker->options_.restored && !worker->log_->is_old();
  self.log_endpoint = worker->peers_->log_endpoint();
  self.peer_endpoint = worker->peers_->peer_endpoint();
  self.store_id = worker->log_->store_id();
  Worker* const raw = worker.get();
  try {
    worker->link_ = std::make_unique<MetadLink>(context, worker->options_.metad, self,
                                                [raw](const CatalogChange* change) { raw->follow_catalog(change); });
  } catch (const zmq::error_t& error) {
    return fail(Errc::kInvalidArgument, "metad endpoint '" + worker->options_.metad + "': " + error.what());
  }
  worker->service_ =
      std::make_unique<Service>(worker->name_, worker->options_.limits, worker->link_->catalog(), worker->records_);
  if (auto restored = worker->restore(); !restored) return tl::unexpected<Error>(restored.error());
  return worker;
}

Worker::Worker(zmq::context_t& context, WorkerOptions options, std::unique_ptr<Log> log)
    : options_(std::move(options)),
      log_(std::move(log)),
      records_(*log_),
      socket_(make_socket(context, zmq::socket_type::router)),
      name_(options_.name.empty() ? "worker-" + log_->store_id().substr(0, 8) : options_.name),
      committer_(*log_),
      gathering_(std::make_unique<Gathered>()),
      now_(now()) {}

// The side rows stand before the records.
Result<void> Worker::restore() {
  std::map<PartitionId, PartitionState> states;
  std::map<PartitionId, EpochTable> epochs;
  std::map<RecordPlace, ReturnState> returns;
  std::vector<std::pair<ProducerKey, ProducerState>> producers;
  std::map<QueuePlace, Lsn> dropped;
  bool prepared = false;
  const auto prepare = [&] {
    if (std::exchange(prepared, true)) return;
    for (auto& [id, state] : states) service_->restore_partition(id, state, std::move(epochs[id]));
    for (const auto& [key, state] : producers) service_->restore_producer(key, state);
    for (const auto& [place, below] : dropped) service_->restore_dropped(place, below);
  };
  LogVisitor visitor;
  visitor.partition = [&](PartitionId id, const PartitionState& state) { states[id] = state; };
  visitor.epochs = [&](PartitionId id, EpochTable table) { epochs[id] = std::move(table); };
  visitor.producer = [&](const ProducerKey& key, const ProducerState& state) { producers.emplace_back(key, state); };
  visitor.dropped = [&](const QueuePlace& place, Lsn below) { dropped[place] = below; };
  visitor.returned = [&](RecordPlace place, const ReturnState& state) { returns.emplace(place, state); };
  visitor.record = [&](RecordPlace place, const RecordHeader& header) {
    prepare();
    const auto returned = returns.find(place);
    service_->restore_record(place, header, returned == returns.end() ? ReturnState{} : returned->second, now_);
    messages_found_ += header.type == RecordType::kMessage ? 1 : 0;
  };
  visitor.damaged = [&](RecordPlace place, const std::string& what) {
    prepare();
    service_->restore_damaged(place);
    spdlog::error("message {} is damaged and stays in the store: {}", message_id_text(place.partition, place.lsn),
                  what);
  };
  visitor.miscounted = [&](PartitionId id) {
    prepare();
    spdlog::error("partition {}: its records in the store are not those that were written; the copy is damaged",
                  id.value);
    service_->restore_miscounted(id);
  };
  if (auto visited = log_->visit(visitor); !visited) return visited;
  prepare();
  records_.release();
  return {};
}

void Worker::follow_catalog(const CatalogChange* change) {
  auto followed = service_->follow_catalog(link_->session(), change, now_, gathering_->turn, out_);
  if (!followed && failure_) failure_ = followed;
  const bool queues_only = change != nullptr && (std::holds_alternative<QueueInfo>(*change) ||
                                                 std::holds_alternative<QueueDeleted>(*change));
  if (!queues_only) peers_->follow(link_->catalog(), name_);
}

bool Worker::turn(TimeMs) {
  now_ = now();
  link_->step(now_.steady);
  service_->hold_lease(link_->leased_until(), now_, out_);
  bool moved = drain_peers();
  moved |= drain_requests();
  service_->tick(now_, gathering_->turn, out_);
  moved |= advance_commits();
  moved |= !out_.replies.empty();
  send_all();
  records_.release();
  if (!records_.failure() && failure_) failure_ = records_.failure();
  return moved;
}

Now Worker::now() const {
  const ClockReading clocks = read_clocks();
  return {clocks.steady, clocks.wall};
}

bool Worker::turn_is_full() const {
  const Turn& turn = gathering_->turn;
  return turn.writes.records.size() + turn.writes.removals.size() + turn.writes.returns.size() >= kTurnRecordsMax ||
         turn.stored_bytes >= kTurnBytesMax;
}

void Worker::add_poll_items(std::vector<zmq::pollitem_t>& items) {
  items.push_back({nullptr, committer_.done_fd(), ZMQ_POLLIN, 0});
  // A full turn takes no more: requests wait in the sockets until it is committed.
  if (!turn_is_full()) items.push_back({socket_.handle(), 0, ZMQ_POLLIN, 0});
  peers_->add_poll_items(items);
  link_->add_poll_items(items);
}

TimeMs Worker::next_deadline() const {
  if (!committer_.busy() && gathering_->turn.urgent()) return now_.steady;
  TimeMs next = link_->next_deadline();
  if (!committer_.busy() && !gathering_->turn.empty()) next = std::min(next, effects_due_);
  return std::min(next, service_->next_deadline().value_or(next));
}

bool Worker::drain_requests() {
  std::vector<zmq::message_t> frames;
  std::size_t count = 0;
  while (count < kDrainMax && !turn_is_full() && receive_frames(socket_, frames)) {
    take_request(frames);
    ++count;
  }
  return count > 0;
}

bool Worker::drain_peers() {
  return peers_->drain([this](const PeerMessage& message, zmq::message_t& records) {
    // A deque: the frame stays where the views point.
    zmq::message_t& kept = gathering_->frames.emplace_back(std::move(records));
    if (!service_->handle_peer(message, bytes_of(kept), now_, gathering_->turn, out_)) gathering_->frames.pop_back();
  });
}

void Worker::take_request(std::vector<zmq::message_t>& frames) {
  if (frames.size() < 3 || frames.size() > 4) return;  // routers send three frames and a payload
  Request request;
  request.to = {std::string(bytes_of(frames[0])), std::string(bytes_of(frames[1]))};
  const auto envelope = decode_envelope(request.to.envelope);
  if (!envelope) return;
  request.envelope = *envelope;
  if (envelope->kind == EnvelopeKind::kUndeliverable) {
    if (frames.size() == 4) service_->undeliverable(request.to.router, *envelope, bytes_of(frames[3]), now_, out_);
    return;
  }
  set_envelope_kind(request.to.envelope.data(), EnvelopeKind::kReply);
  request.header = bytes_of(frames[2]);
  zmq::message_t* payload = nullptr;
  if (frames.size() == 4) {
    payload = &gathering_->frames.emplace_back(std::move(frames[3]));
    request.payload = bytes_of(*payload);
  }
  const std::size_t records = gathering_->turn.writes.records.size();
  const bool mine = service_->handle(request, now_, gathering_->turn, out_);
  ++gathering_->requests;
  if (!mine) {
    if (payload != nullptr) frames[3] = std::move(*payload);
    hand_back(frames);
  }
  // Only a send's payload is looked at again.
  if (payload != nullptr && records == gathering_->turn.writes.records.size()) gathering_->frames.pop_back();
}

void Worker::hand_back(std::vector<zmq::message_t>& frames) {
  set_envelope_kind(static_cast<char*>(frames[1].data()), EnvelopeKind::kHandBack);
  send_frames(socket_, frames);  // a router that is gone has no use for it
}

bool Worker::advance_commits() {
  auto outcome = committer_.take_result();
  if (outcome && committing_) {
    finish(*committing_, *outcome);
    committing_.reset();
  } else if (outcome && !*outcome) {
    failure_ = *outcome;
  }
  if (committer_.busy()) return false;
  if (commit_is_due()) {
    commit_gathered();
    return true;
  }
  if (options_.sync == SyncMode::kInterval && now_.steady >= sync_due_) {
    sync_due_ = now_.steady + kSyncEvery;
    committer_.start_sync();
  }
  return outcome.has_value();
}

// Effects that nobody waits for go with the next turn, or alone after a while.
bool Worker::commit_is_due() {
  const Turn& turn = gathering_->turn;
  if (turn.urgent()) return true;
  if (turn.empty()) {
    effects_due_ = now_.steady + kEffectsWait;
    return false;
  }
  return now_.steady >= effects_due_;
}

void Worker::commit_gathered() {
  service_->seal(gathering_->turn, now_, out_);
  for (PeerFrame& frame : out_.peers) peers_->send(std::move(frame));  // side by side with our own commit
  out_.peers.clear();
  auto gathered = std::exchange(gathering_, std::make_unique<Gathered>());
  effects_due_ = now_.steady + kEffectsWait;
  const bool is_short = gathered->requests <= kInlineRequestsMax && gathered->turn.stored_bytes <= kInlineBytesMax;
  if (is_short || gathered->turn.writes.empty()) {
    finish(*gathered, log_->commit(gathered->turn.effects, gathered->turn.writes));
  } else {
    committing_ = std::move(gathered);
    committer_.start(committing_->turn);
  }
}

void Worker::finish(Gathered& gathered, const Result<void>& outcome) {
  records_.release();  // so that the core sees what was committed just now
  now_ = now();
  if (outcome) {
    service_->committed(gathered.turn, now_, gathering_->turn, out_);
    return;
  }
  spdlog::error("a commit failed: {}", outcome.error().context);
  // What was gathered since counts on the LSNs of the failed turn.
  auto since = std::exchange(gathering_, std::make_unique<Gathered>());
  gathered.turn.absorb(std::move(since->turn));
  service_->failed(gathered.turn, outcome.error(), now_, gathering_->turn, out_);
  if (outcome.error().code != Errc::kInsufficientStorage && failure_) failure_ = outcome;
}

void Worker::send_all() {
  for (PeerFrame& frame : std::exchange(out_.peers, {})) peers_->send(std::move(frame));
  const auto follow = [this](const MetadReplyBody& answer) {
    const auto* partition = std::get_if<PartitionInfo>(&answer);
    if (partition == nullptr) return;
    auto followed = service_->proposal_answered(*partition, now_, gathering_->turn, out_);
    if (!followed && failure_) failure_ = followed;
  };
  for (AlterInSync& proposal : std::exchange(out_.proposals, {})) {
    link_->request(std::move(proposal), now_.steady, follow);
  }
  for (const ReportUnclean& report : std::exchange(out_.reports, {})) {
    spdlog::warn("partition {}: the copy here is {}", report.partition.value, report.repaired ? "repaired" : "damaged");
    link_->request(report, now_.steady, [this, follow](const MetadReplyBody& answer) {
      const auto* partition = std::get_if<PartitionInfo>(&answer);
      if (partition != nullptr) service_->report_answered(*partition, now_, out_);
      follow(answer);
    });
  }
  for (const ResignLeader& resignation : std::exchange(out_.resignations, {})) {
    spdlog::warn("partition {}: this worker could not write and asks for another leader", resignation.partition.value);
    link_->request(resignation, now_.steady, [](const MetadReplyBody&) {});
  }
  for (const std::string& notice : std::exchange(out_.notices, {})) spdlog::error("{}", notice);
  for (const std::string& remark : std::exchange(out_.remarks, {})) spdlog::info("{}", remark);
  send_replies();
}

void Worker::send_replies() {
  // Undeliverable replies may make room for further ones.
  for (std::size_t i = 0; i < out_.replies.size(); ++i) {
    Reply reply = std::move(out_.replies[i]);
    send_reply(reply);
  }
  out_.replies.clear();
}

void Worker::send_reply(Reply& reply) {
  std::vector<zmq::message_t> frames;
  frames.reserve(4);
  frames.push_back(copy_frame(reply.to.router));
  frames.push_back(copy_frame(reply.to.envelope));
  frames.push_back(make_frame(std::move(reply.header)));
  frames.push_back(make_frame(std::move(reply.payload)));
  if (send_frames(socket_, frames) == SendOutcome::kSent) return;
  const auto envelope = decode_envelope(reply.to.envelope);
  service_->undeliverable(reply.to.router, *envelope, bytes_of(frames[3]), now_, out_);
}

void Worker::end() {
  if (committer_.busy()) {
    const auto outcome = committer_.wait();
    if (committing_) finish(*committing_, outcome);
    committing_.reset();
  }
  if (failure_ && !gathering_->turn.empty()) {
    service_->seal(gathering_->turn, now_, out_);
    auto turn = std::exchange(gathering_, std::make_unique<Gathered>());
    finish(*turn, log_->commit(turn->turn.effects, turn->turn.writes));
  }
  service_->end_receivers(out_);
  send_all();
  records_.release();
  constexpr int kLastRepliesMs = 1000;
  socket_.set(zmq::sockopt::linger, kLastRepliesMs);
  if (!failure_) spdlog::critical("the worker stops: {}", failure_.error().context);
}

}  // namespace dmq
