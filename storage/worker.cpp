// The turns of a worker.
#include "storage/worker.hpp"

#include <algorithm>
#include <map>

#include "runtime/clock.hpp"
#include "runtime/logging.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr std::size_t kTurnMessagesMax = 10'000;  // LMDB slows down beyond
constexpr std::uint64_t kTurnBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kDrainMax = 256;         // requests a turn, so that time and commits get theirs
constexpr std::size_t kInlineRequestsMax = 1;  // alone, a commit inline saves the thread hop
constexpr DurationMs kSyncEvery{1000};

}  // namespace

Result<RecordView> TurnRecords::read(RecordPlace place) {
  if (!fresh_) {
    if (auto refreshed = reader_.refresh(); !refreshed) {
      failure_ = refreshed;
      return fail(Errc::kUnavailable, refreshed.error().context);
    }
    fresh_ = true;
  }
  auto record = reader_.read(place);
  if (!record) spdlog::error("a damaged record is not delivered and stays in the store: {}", record.error().context);
  return record;
}

void TurnRecords::release() {
  reader_.release();
  fresh_ = false;
}

Result<std::unique_ptr<Worker>> Worker::open(zmq::context_t& context, WorkerOptions options) {
  LogOptions log_options;
  log_options.directory = options.data_dir;
  log_options.sync = options.sync;
  // Address space only. Pages are seldom full and freed ones wait for reuse: room for acks when sends are refused.
  log_options.map_bytes = options.limits.store_bytes * 3 + (std::uint64_t{1} << 30);
  auto log = Log::open(log_options);
  if (!log) return tl::unexpected<Error>(log.error());
  std::unique_ptr<Worker> worker(new Worker(context, std::move(options), std::move(*log)));
  auto bound = bind_socket(worker->socket_, worker->options_.listen);
  if (!bound) return tl::unexpected<Error>(bound.error());
  worker->endpoint_ = worker->options_.advertise.empty() ? *bound : worker->options_.advertise;
  RegisterMember self{RegisterMember::Role::kWorker, worker->name_, worker->endpoint_,
                      std::string(sync_name(worker->options_.sync))};
  Worker* const raw = worker.get();
  try {
    worker->link_ =
        std::make_unique<MetadLink>(context, worker->options_.metad, self, [raw](const CatalogChange* change) {
          auto followed = raw->service_->follow_catalog(raw->link_->session(), change, raw->now_, raw->gathering_->turn,
                                                        raw->replies_);
          if (!followed && raw->failure_) raw->failure_ = followed;
        });
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

Result<void> Worker::restore() {
  std::map<RecordPlace, std::uint32_t> deliveries;
  LogVisitor visitor;
  visitor.partition = [this](PartitionId id, const PartitionState& state) { service_->partition(id).restore(state); };
  visitor.producer = [this](const ProducerKey& key, const ProducerState& state) {
    service_->partition(std::get<PartitionId>(key)).producers().restore(key, state);
  };
  visitor.deliveries = [&](RecordPlace place, std::uint32_t count) { deliveries.emplace(place, count); };
  visitor.message = [&](RecordPlace place, const RecordHeader& header) {
    const auto counted = deliveries.find(place);
    service_->restore_message(place, header, counted == deliveries.end() ? 0 : counted->second);
    ++messages_found_;
  };
  visitor.damaged = [](RecordPlace place, const std::string& what) {
    spdlog::error("message {} is damaged and stays in the store: {}", message_id_text(place.partition, place.lsn),
                  what);
  };
  return log_->visit(visitor);
}

bool Worker::turn(TimeMs) {
  now_ = now();
  link_->step(now_.steady);
  bool moved = drain_requests();
  service_->tick(now_, gathering_->turn, replies_);
  moved |= advance_commits();
  moved |= !replies_.empty();
  send_replies();
  records_.release();
  if (!records_.failure() && failure_) failure_ = records_.failure();
  return moved;
}

Now Worker::now() const { return {steady_now(), wall_now()}; }

bool Worker::turn_is_full() const {
  const Turn& turn = gathering_->turn;
  return turn.writes.messages.size() + turn.settlings.size() >= kTurnMessagesMax || turn.stored_bytes >= kTurnBytesMax;
}

void Worker::add_poll_items(std::vector<zmq::pollitem_t>& items) {
  items.push_back({nullptr, committer_.done_fd(), ZMQ_POLLIN, 0});
  // A full turn takes no more: requests wait in the sockets until it is committed.
  if (!turn_is_full()) items.push_back({socket_.handle(), 0, ZMQ_POLLIN, 0});
  link_->add_poll_items(items);
}

TimeMs Worker::next_deadline() const {
  if (!committer_.busy() && !gathering_->turn.empty()) return now_.steady;
  const TimeMs link = link_->next_deadline();
  return std::min(link, service_->next_deadline().value_or(link));
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

void Worker::take_request(std::vector<zmq::message_t>& frames) {
  if (frames.size() < 3 || frames.size() > 4) return;  // routers send three frames and a payload
  Request request;
  request.to = {std::string(bytes_of(frames[0])), std::string(bytes_of(frames[1]))};
  const auto envelope = decode_envelope(request.to.envelope);
  if (!envelope) return;
  request.envelope = *envelope;
  if (envelope->kind == EnvelopeKind::kUndeliverable) {
    if (frames.size() == 4) service_->undeliverable(*envelope, bytes_of(frames[3]), now_, replies_);
    return;
  }
  set_envelope_kind(request.to.envelope.data(), EnvelopeKind::kReply);
  request.header = bytes_of(frames[2]);
  zmq::message_t* payload = nullptr;
  if (frames.size() == 4) {
    payload = &gathering_->frames.emplace_back(std::move(frames[3]));
    request.payload = bytes_of(*payload);
  }
  const std::size_t messages = gathering_->turn.writes.messages.size();
  const bool mine = service_->handle(request, now_, gathering_->turn, replies_);
  ++gathering_->requests;
  if (!mine) {
    if (payload != nullptr) frames[3] = std::move(*payload);
    hand_back(frames);
  }
  // Only a send's payload is looked at again.
  if (payload != nullptr && messages == gathering_->turn.writes.messages.size()) gathering_->frames.pop_back();
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
  if (!gathering_->turn.empty()) {
    commit_gathered();
    return true;
  }
  if (options_.sync == SyncMode::kInterval && now_.steady >= sync_due_) {
    sync_due_ = now_.steady + kSyncEvery;
    committer_.start_sync();
  }
  return outcome.has_value();
}

void Worker::commit_gathered() {
  auto gathered = std::exchange(gathering_, std::make_unique<Gathered>());
  if (gathered->requests <= kInlineRequestsMax || gathered->turn.writes.empty()) {
    finish(*gathered, log_->commit(gathered->turn.writes));
  } else {
    committing_ = std::move(gathered);
    committer_.start(committing_->turn.writes);
  }
}

void Worker::finish(Gathered& gathered, const Result<void>& outcome) {
  records_.release();  // so that the core sees what was committed just now
  now_ = now();
  if (outcome) {
    service_->committed(gathered.turn, now_, replies_);
    return;
  }
  spdlog::error("a commit failed: {}", outcome.error().context);
  service_->failed(gathered.turn, outcome.error(), now_, replies_);
  // What was gathered since counts on the LSNs of the failed turn.
  if (gathering_.get() != &gathered && !gathering_->turn.empty()) {
    auto next = std::exchange(gathering_, std::make_unique<Gathered>());
    service_->failed(next->turn, outcome.error(), now_, replies_);
  }
  if (outcome.error().code != Errc::kInsufficientStorage && failure_) failure_ = outcome;
}

void Worker::send_replies() {
  // Undeliverable replies may make room for further ones.
  for (std::size_t i = 0; i < replies_.size(); ++i) {
    Reply reply = std::move(replies_[i]);
    send_reply(reply);
  }
  replies_.clear();
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
  service_->undeliverable(*envelope, bytes_of(frames[3]), now_, replies_);
}

void Worker::end() {
  if (committer_.busy()) {
    const auto outcome = committer_.wait();
    if (committing_) finish(*committing_, outcome);
    committing_.reset();
  }
  if (failure_ && !gathering_->turn.empty()) {
    auto turn = std::exchange(gathering_, std::make_unique<Gathered>());
    finish(*turn, log_->commit(turn->turn.writes));
  }
  service_->unpark_all(replies_);
  send_replies();
  records_.release();
  constexpr int kLastRepliesMs = 1000;
  socket_.set(zmq::sockopt::linger, kLastRepliesMs);
  if (!failure_) spdlog::critical("the worker stops: {}", failure_.error().context);
}

}  // namespace dmq
