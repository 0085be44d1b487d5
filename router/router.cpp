// Frames in, frames on: the router's turns.
#include "router/router.hpp"

#include <algorithm>
#include <random>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "protocol/queue_info.hpp"
#include "runtime/clock.hpp"
#include "runtime/logging.hpp"

namespace dmq {
namespace {

constexpr std::size_t kDrainMax = 256;  // messages a socket and turn
constexpr int kPipeMessagesMax = 1000;  // per client and per worker: more waits in TCP, at the sender
constexpr std::int64_t kFrameBytesMax = kRequestBytesMax + 64 * 1024;
constexpr std::uint32_t kWorkerBytesMax = 256 * 1024 * 1024;  // requests under way to one worker: more is held
constexpr std::size_t kLargeReplyBytes = 64 * 1024;           // below, kPipeMessagesMax is the bound
constexpr std::size_t kClientUnreadBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kUnreadBytesMax = 1024 * 1024 * 1024;
// A worker in this thread makes all replies of a turn before the first is sent.
// LIMIT: a single message may be larger than its receive asked for.
constexpr std::size_t kAskedBytesMax = 64 * 1024 * 1024;
constexpr std::size_t kHeldMax = 10'000;
constexpr std::size_t kHeldBytesMax = 256 * 1024 * 1024;
constexpr int kLastDrains = 40;  // with kDrainMax: a reply for each receive that can wait in a worker
constexpr DurationMs kRetryAfter{50};
constexpr std::uint8_t kHopsMax = 40;  // with kRetryAfter: two seconds for a new map to arrive
constexpr DurationMs kConfirmFor{3000};
constexpr DurationMs kHoldFor{5000};

std::string random_name() {
  std::random_device source;
  return "router-" + std::to_string(source()) + "-" + std::to_string(source());
}

SocketLimits client_limits() { return {kPipeMessagesMax, kFrameBytesMax}; }

// Is it answered with messages?
bool asks_for_messages(const RequestHeader& header) {
  return header.op == Op::kReceive || header.op == Op::kSubscribe || header.op == Op::kBrowse;
}

std::size_t asked_bytes(const RequestHeader& header) {
  if (!asks_for_messages(header)) return 0;
  return header.max_bytes == 0 ? kReceiveBytesDefault : static_cast<std::size_t>(header.max_bytes);
}

Error too_much_unread() {
  return {Errc::kUnavailable, "too many bytes of replies wait to be read; read them, then try again"};
}

}  // namespace

Result<std::unique_ptr<Router>> Router::open(zmq::context_t& context, RouterOptions options) {
  std::unique_ptr<Router> router(new Router(context, std::move(options)));
  if (auto bound = router->bind(); !bound) return tl::unexpected<Error>(bound.error());
  Router* const raw = router.get();
  const RouterOptions& set = router->options_;
  try {
    router->link_ =
        std::make_unique<MetadLink>(context, set.metad, RegisterMember{RegisterMember::Role::kRouter, set.name, "", ""},
                                    [raw](const CatalogChange*) { raw->catalog_changed_ = true; });
  } catch (const zmq::error_t& error) {
    return fail(Errc::kInvalidArgument, "metad endpoint '" + set.metad + "': " + error.what());
  }
  router->admission_ = std::make_unique<Admission>(
      RouterSettings{set.auto_create, set.allow_delete, router->admin_endpoint_}, router->link_->catalog());
  return router;
}

Router::Router(zmq::context_t& context, RouterOptions options)
    : context_(context),
      options_(std::move(options)),
      clients_(make_socket(context, zmq::socket_type::router, client_limits())),
      admins_(make_socket(context, zmq::socket_type::router, client_limits())),
      unread_(kClientUnreadBytesMax, kUnreadBytesMax),
      spread_(random_name()),
      now_(steady_now()) {
  if (options_.name.empty()) options_.name = random_name();
}

Result<void> Router::bind() {
  auto bound = bind_socket(clients_, options_.listen);
  if (!bound) return tl::unexpected<Error>(bound.error());
  endpoint_ = *bound;
  if (options_.admin.empty()) return {};
  bound = bind_socket(admins_, options_.admin);
  if (!bound) return tl::unexpected<Error>(bound.error());
  admin_endpoint_ = *bound;
  return {};
}

bool Router::turn(TimeMs steady_now) {
  now_ = steady_now;
  link_->step(now_);
  const bool changed = std::exchange(catalog_changed_, false);
  if (changed) follow_workers();
  watch_workers();
  asked_bytes_ = 0;
  retry_held(changed);  // before later requests for the same queues are read
  bool moved = false;
  for (auto& [endpoint, worker] : workers_) moved |= drain_worker(worker);
  moved |= drain_clients(clients_, false);
  moved |= drain_clients(admins_, true);
  confirm();
  spread_.forget(now_);
  return moved;
}

void Router::end() {
  // Replies that are on their way reach clients that are there.
  for (auto& [endpoint, worker] : workers_) drain_fully(worker);
  constexpr int kLastRepliesMs = 1000;
  clients_.set(zmq::sockopt::linger, kLastRepliesMs);
}

void Router::add_poll_items(std::vector<zmq::pollitem_t>& items) {
  items.push_back({clients_.handle(), 0, ZMQ_POLLIN, 0});
  items.push_back({admins_.handle(), 0, ZMQ_POLLIN, 0});
  for (auto& [endpoint, worker] : workers_) items.push_back({worker.link.socket().handle(), 0, ZMQ_POLLIN, 0});
  link_->add_poll_items(items);
}

TimeMs Router::next_deadline() const {
  const TimeMs link = link_->next_deadline();
  const TimeMs held = held_.empty() ? link : held_due_;
  const TimeMs confirming = confirming_.empty() ? link : now_ + kRetryAfter;
  return std::min({link, held, confirming});
}

// --- from clients -------------------------------------------------------------------------------------------------

bool Router::drain_clients(zmq::socket_t& socket, bool admin) {
  std::vector<zmq::message_t> frames;
  std::size_t count = 0;
  while (count < kDrainMax && asked_bytes_ < kAskedBytesMax && receive_frames(socket, frames)) {
    take_request(frames, admin);
    ++count;
  }
  return count > 0;
}

void Router::take_request(std::vector<zmq::message_t>& frames, bool admin) {
  const bool delimiter = frames.size() >= 2 && frames[1].size() == 0;
  const std::size_t first = delimiter ? 2 : 1;
  // No header frame, or frames without end: no message of this protocol. Nor one under an address of the router's own.
  if (frames.size() <= first || Spread::parse_part_address(bytes_of(frames[0]))) {
    ++dropped_;
    return;
  }
  Incoming request;
  request.client = {std::string(bytes_of(frames[0])), delimiter, admin};
  request.header = std::move(frames[first]);
  if (frames.size() > first + 2)
    return refuse(request, {}, {Errc::kMalformed, "a request is one header frame and at most one payload frame"});
  request.has_payload = frames.size() == first + 2;
  if (request.has_payload) request.payload = std::move(frames[first + 1]);
  dispatch(std::move(request));
}

void Router::dispatch(Incoming request) {
  if (auto decoded = decode_request_header(bytes_of(request.header), reader_, header_); !decoded) {
    return refuse(request, header_.id, decoded.error());
  }
  if (request.part) return dispatch_to_part(std::move(request));
  Decision decision = admission_->decide(header_, bytes_of(request.payload), request.client.admin);
  if (asks_for_messages(header_)) request.drop_payload();  // has no meaning
  if (auto* route = std::get_if<Route>(&decision)) {
    if (!has_room_for_reply(request.client)) return refuse(request, header_.id, too_much_unread());
    if (route->spread) return spread(std::move(request));
    if (holds(header_.queue, {}))
      return hold_again(std::move(request), "requests before it wait for the queue's worker");
    return forward(std::move(request), *route);
  }
  if (auto* local = std::get_if<LocalReply>(&decision)) {
    return reply(request.client, encode_ok_header(header_.id), std::move(local->payload));
  }
  if (auto* error = std::get_if<Error>(&decision)) return refuse(request, header_.id, *error);
  if (auto* ask = std::get_if<AskMetad>(&decision)) return ask_metad(request.client, header_.id, *ask);
  const std::string queue = std::get<CreateFirst>(decision).name;
  const bool asked = holds(queue, {});
  hold(std::move(request), true);
  if (!asked) create_queue(queue);
}

// It was admitted when it came.
void Router::dispatch_to_part(Incoming request) {
  const QueueInfo* const queue = link_->catalog().find_queue(header_.queue);
  if (queue == nullptr) return refuse(request, header_.id, {Errc::kNoSuchQueue, "the queue was deleted"});
  const auto route = admission_->route(*request.part, queue->id);
  if (!route) return refuse(request, header_.id, route.error());
  if (holds(header_.queue, request.part))
    return hold_again(std::move(request), "requests before it wait for the queue's worker");
  forward(std::move(request), *route);
}

// --- queues of several partitions ------------------------------------------------------------------------------------

void Router::spread(Incoming request) {
  const QueueInfo& queue = *link_->catalog().find_queue(header_.queue);
  const std::uint16_t partitions = link_->catalog().partitions();
  auto begun = spread_.begin(request.client, bytes_of(request.header), header_, bytes_of(request.payload), queue,
                             partitions, now_);
  if (const auto* error = std::get_if<Error>(&begun)) return refuse(request, header_.id, *error);
  if (const auto* through = std::get_if<Spread::Through>(&begun)) {
    request.part = place_of_part(queue, through->part, partitions);
    return dispatch_to_part(std::move(request));
  }
  if (auto* copies = std::get_if<Spread::Copies>(&begun)) {
    for (Spread::Part& each : copies->parts) {
      Incoming copy;
      copy.client = request.client;
      copy.part = place_of_part(queue, each.part, partitions);
      copy.header = make_frame(std::move(each.header));
      dispatch(std::move(copy));
    }
    return;
  }
  put_out(std::move(std::get<Spread::Step>(begun)), queue);
}

void Router::put_out(Spread::Step step, const QueueInfo& queue) {
  for (Spread::Part& each : step.asks) {
    Incoming request;
    request.client.routing_id = Spread::part_address(step.ticket, each.part);
    request.part = place_of_part(queue, each.part, link_->catalog().partitions());
    request.header = make_frame(std::move(each.header));
    request.has_payload = !each.payload.empty();
    if (request.has_payload) request.payload = make_frame(std::move(each.payload));
    dispatch(std::move(request));
  }
}

// `worker`, `frames`: of the reply that led to it, when it came from a worker.
void Router::take_step(Spread::Step step, zmq::message_t payload, WorkerEnd* worker,
                       std::vector<zmq::message_t>* frames) {
  const bool has_messages = worker != nullptr && payload.size() > 0;
  if (step.give_back && has_messages) {
    (*frames)[2] = std::move(payload);
    give_back(*worker, std::move(*frames));
  }
  if (step.answer && !step.answer->passes) {
    reply(step.answer->client, std::move(step.answer->header), std::move(step.answer->payload));
  } else if (step.answer) {
    const Client client = step.answer->client;
    if (!charge(client, payload)) {
      refuse_unread(client, step.answer->header);
      (*frames)[2] = std::move(payload);
      give_back(*worker, std::move(*frames));
    } else {
      pass_on(client, make_frame(std::move(step.answer->header)), std::move(payload), *worker, *frames);
    }
  }
  const QueueInfo* const queue = step.asks.empty() ? nullptr : link_->catalog().find_queue(step.queue);
  if (queue != nullptr) put_out(std::move(step), *queue);
}

// Without room the reply would be given back, and the worker would have read its messages for nothing.
bool Router::has_room_for_reply(const Client& client) const {
  if (!asks_for_messages(header_) || unread_.bytes() == 0) return true;
  return unread_.has_room(client.key(), asked_bytes(header_));
}

void Router::forward(Incoming request, const Route& route) {
  WorkerEnd& worker = worker_at(route.endpoint);
  // These may wait, or have more than one reply; their bytes are with the worker.
  const bool waits = header_.op == Op::kReceive || header_.op == Op::kSubscribe;
  const std::size_t bytes = waits ? 0 : request.bytes();
  if (!worker.under_way.has_room(bytes)) {
    return hold_again(std::move(request),
                      "the worker that has this queue is busy: too many bytes are on their way to it");
  }
  Envelope envelope;
  envelope.delimiter = request.client.delimiter;
  envelope.admin = request.client.admin;
  envelope.hops = request.hops;
  envelope.partition = route.partition;
  envelope.epoch = route.epoch;
  envelope.queue = route.queue;
  envelope.position = waits ? BytesUnderWay::kNoPosition : worker.under_way.position_behind(bytes);
  envelope.client = request.client.routing_id;
  std::vector<zmq::message_t> frames;
  frames.reserve(3);
  frames.push_back(make_frame(encode_envelope(envelope)));
  frames.push_back(std::move(request.header));
  if (request.has_payload) frames.push_back(std::move(request.payload));
  if (worker.link.send(frames) == SendOutcome::kSent) {
    worker.under_way.sent(bytes);
    asked_bytes_ += asked_bytes(header_);
    return;
  }
  request.header = std::move(frames[1]);
  if (request.has_payload) request.payload = std::move(frames[2]);
  hold_again(std::move(request), "the worker that has this queue cannot be reached or is busy");
}

// --- requests that wait -------------------------------------------------------------------------------------------

bool Router::holds(std::string_view queue, std::optional<PartitionId> part) const {
  return std::any_of(held_.begin(), held_.end(),
                     [&](const Held& held) { return held.queue == queue && held.request.part == part; });
}

void Router::hold(Incoming request, bool creating) {
  if (!decode_request_header(bytes_of(request.header), reader_, header_)) return;
  if (held_.size() >= kHeldMax || held_bytes_ + request.bytes() > kHeldBytesMax) {
    return refuse(
        request, header_.id,
        {Errc::kUnavailable, "too many requests wait for a worker or for a change of the catalog; try again"});
  }
  const std::string queue(header_.queue);
  keep({std::move(request), now_ + (creating ? kHoldFor : kRetryAfter), queue, creating});
}

void Router::hold_again(Incoming request, const std::string& reason) {
  if (request.hops < kHopsMax) {
    ++request.hops;
    return hold(std::move(request), false);
  }
  if (!decode_request_header(bytes_of(request.header), reader_, header_)) return;
  refuse(request, header_.id, {Errc::kUnavailable, reason + "; try again"});
}

void Router::keep(Held held) {
  held_due_ = held_.empty() ? held.retry_at : std::min(held_due_, held.retry_at);
  held_bytes_ += held.request.bytes();
  held_.push_back(std::move(held));
}

void Router::create_queue(const std::string& name) {
  link_->request(CreateQueue{name, {}, true}, now_, [this, name](const MetadReplyBody& answer) {
    // Success shows in the catalog, and retry_held sees it there.
    if (const auto* error = std::get_if<Error>(&answer)) fail_held(name, *error);
  });
}

void Router::fail_held(const std::string& queue, const Error& error) {
  std::deque<Held> rest;
  for (Held& held : held_) {
    if (held.queue != queue || !held.creating) {
      rest.push_back(std::move(held));
      continue;
    }
    held_bytes_ -= held.request.bytes();
    if (decode_request_header(bytes_of(held.request.header), reader_, header_)) refuse(held.request, header_.id, error);
  }
  held_ = std::move(rest);
}

void Router::retry_held(bool catalog_changed) {
  if (held_.empty() || (!catalog_changed && now_ < held_due_)) return;
  std::deque<Held> waiting = std::exchange(held_, {});
  held_bytes_ = 0;
  for (Held& held : waiting) {
    const bool known = held.creating && link_->catalog().find_queue(held.queue) != nullptr;
    if (known || (!held.creating && now_ >= held.retry_at)) {
      dispatch(std::move(held.request));
    } else if (now_ >= held.retry_at) {
      if (!decode_request_header(bytes_of(held.request.header), reader_, header_)) continue;
      refuse(held.request, header_.id, {Errc::kUnavailable, "metad did not create the queue in time; try again"});
    } else {
      keep(std::move(held));
    }
  }
}

// --- metad's writes ------------------------------------------------------------------------------------------------

void Router::ask_metad(const Client& client, const RequestId& id, const AskMetad& ask) {
  link_->request(ask.body, now_, [this, client, id](const MetadReplyBody& answer) {
    if (const auto* error = std::get_if<Error>(&answer)) return reply(client, encode_reply_header(id, *error), {});
    const auto* created = std::get_if<QueueInfo>(&answer);
    const auto* deleted = std::get_if<QueueDeleted>(&answer);
    if (created == nullptr && deleted == nullptr) {
      return reply(client, encode_reply_header(id, {Errc::kInternal, "metad gave an answer of another kind"}), {});
    }
    confirming_.push_back({client, id, created != nullptr ? created->name : deleted->name,
                           created != nullptr ? created->version : 0,
                           created != nullptr ? encode_queue_info(*created) : std::string(), now_ + kConfirmFor});
  });
}

// The client hears of success when this router goes by it, so that its next request finds what it made.
void Router::confirm() {
  for (std::size_t i = 0; i < confirming_.size();) {
    Confirming& each = confirming_[i];
    const QueueInfo* known = link_->catalog().find_queue(each.queue);
    const bool shows = each.version == 0 ? known == nullptr : known != nullptr && known->version >= each.version;
    if (!shows && now_ < each.until) {
      ++i;
      continue;
    }
    reply(each.client, encode_ok_header(each.id), std::move(each.payload));
    confirming_.erase(confirming_.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// --- from workers ----------------------------------------------------------------------------------------------------

// What a worker answered before its connection was lost reaches the clients; what it had not read is lost.
void Router::watch_workers() {
  if (std::exchange(watched_, now_) == now_) return;  // once a millisecond: each look costs a system call
  for (auto& [endpoint, worker] : workers_) {
    if (!worker.link.lost()) continue;
    drain_fully(worker);
    worker.link.renew();
    worker.under_way.reset();
  }
}

void Router::drain_fully(WorkerEnd& worker) {
  for (int i = 0; i < kLastDrains && drain_worker(worker); ++i) {
  }
}

bool Router::drain_worker(WorkerEnd& worker) {
  std::vector<zmq::message_t> frames;
  std::size_t count = 0;
  for (; count < kDrainMax && receive_frames(worker.link.socket(), frames); ++count) {
    const auto envelope = frames.size() < 2 ? fail(Errc::kMalformed, "") : decode_envelope(bytes_of(frames[0]));
    if (!envelope) {
      ++dropped_;
      continue;
    }
    worker.under_way.returned(envelope->position);
    if (envelope->kind == EnvelopeKind::kHandBack) {
      take_back(*envelope, frames);
    } else {
      pass_reply(worker, *envelope, frames);
    }
  }
  return count > 0;
}

void Router::pass_reply(WorkerEnd& worker, const Envelope& envelope, std::vector<zmq::message_t>& frames) {
  const bool payload = frames.size() > 2 && !frames[2].empty();
  if (const auto part = Spread::parse_part_address(envelope.client)) {
    zmq::message_t messages = payload ? std::move(frames[2]) : zmq::message_t();
    Spread::Step step = spread_.on_reply(part->ticket, part->part, bytes_of(frames[1]), bytes_of(messages), now_);
    return take_step(std::move(step), std::move(messages), &worker, &frames);
  }
  const Client client{std::string(envelope.client), envelope.delimiter, envelope.admin};
  if (payload && !charge(client, frames[2])) {
    refuse_unread(client, bytes_of(frames[1]));
    return give_back(worker, std::move(frames));
  }
  zmq::message_t messages = payload ? std::move(frames[2]) : zmq::message_t();
  zmq::message_t header = std::move(frames[1]);
  pass_on(client, std::move(header), std::move(messages), worker, frames);
}

// What the client cannot be reached with goes back, if it is messages.
void Router::pass_on(const Client& client, zmq::message_t header, zmq::message_t payload, WorkerEnd& worker,
                     std::vector<zmq::message_t>& frames) {
  const bool has_payload = payload.size() > 0;
  std::vector<zmq::message_t> out;
  out.reserve(4);
  out.push_back(copy_frame(client.routing_id));
  if (client.delimiter) out.emplace_back();
  out.push_back(std::move(header));
  if (has_payload) out.push_back(std::move(payload));
  if (send_frames(client.admin ? admins_ : clients_, out) == SendOutcome::kSent || !has_payload) return;
  frames[1] = std::move(out[out.size() - 2]);
  frames[2] = std::move(out.back());
  give_back(worker, std::move(frames));
}

// The client cannot have this reply: the worker takes back what it leased to it.
void Router::give_back(WorkerEnd& worker, std::vector<zmq::message_t> frames) {
  set_envelope_kind(static_cast<char*>(frames[0].data()), EnvelopeKind::kUndeliverable);
  frames.resize(3);
  worker.link.send(frames);  // a worker that is gone has lost its leases anyway
}

void Router::take_back(const Envelope& envelope, std::vector<zmq::message_t>& frames) {
  Incoming request;
  request.client = {std::string(envelope.client), envelope.delimiter, envelope.admin};
  request.hops = envelope.hops;
  const QueueInfo* const queue = link_->catalog().find_queue(envelope.queue);
  if (queue != nullptr && queue->settings.partitions > 1) request.part = envelope.partition;
  request.header = std::move(frames[1]);
  request.has_payload = frames.size() > 2;
  if (request.has_payload) request.payload = std::move(frames[2]);
  hold_again(std::move(request), "the queue's place is changing");
}

// --- to clients -----------------------------------------------------------------------------------------------------

void Router::reply(const Client& client, std::string header, std::string payload) {
  if (const auto part = Spread::parse_part_address(client.routing_id)) {  // a request of our own
    Spread::Step step = spread_.on_reply(part->ticket, part->part, header, payload, now_);
    return take_step(std::move(step), {}, nullptr, nullptr);
  }
  zmq::message_t frame = make_frame(std::move(payload));
  if (!charge(client, frame)) return refuse_unread(client, header);
  send_to(client, make_frame(std::move(header)), std::move(frame));
}

void Router::refuse(const Incoming& request, const RequestId& id, const Error& error) {
  reply(request.client, encode_reply_header(id, error), {});
}

// In place of a reply that was made already.
void Router::refuse_unread(const Client& client, std::string_view reply_header) {
  const auto made = decode_reply_header(reply_header, reader_);
  if (made) reply(client, encode_reply_header(made->id, too_much_unread()), {});
}

// False: the client has to read first. Otherwise `payload` tells unread_ when it is sent or dropped.
bool Router::charge(const Client& client, zmq::message_t& payload) {
  if (payload.size() < kLargeReplyBytes) return true;
  auto charge = unread_.charge(client.key(), payload.size());
  if (charge == nullptr) return false;
  payload = ticket_frame(std::move(payload), std::move(charge));
  return true;
}

SendOutcome Router::send_to(const Client& client, zmq::message_t header, zmq::message_t payload) {
  std::vector<zmq::message_t> frames;
  frames.push_back(copy_frame(client.routing_id));
  if (client.delimiter) frames.emplace_back();
  frames.push_back(std::move(header));
  if (payload.size() > 0) frames.push_back(std::move(payload));
  return send_frames(client.admin ? admins_ : clients_, frames);
}

// --- workers --------------------------------------------------------------------------------------------------------

Router::WorkerEnd::WorkerEnd(zmq::context_t& context, const std::string& endpoint)
    : link(context, {kPipeMessagesMax, -1}), under_way(kWorkerBytesMax) {
  if (auto connected = link.connect(endpoint); !connected) spdlog::error("{}", connected.error().context);
}

Router::WorkerEnd& Router::worker_at(const std::string& endpoint) {
  return workers_.try_emplace(endpoint, context_, endpoint).first->second;
}

// Connects to workers as soon as they are known, and forgets the endpoints that no worker has any more.
void Router::follow_workers() {
  const CatalogCopy& catalog = link_->catalog();
  const auto used = [&](const std::string& endpoint) {
    return std::any_of(catalog.workers().begin(), catalog.workers().end(),
                       [&](const auto& entry) { return entry.second.endpoint == endpoint; });
  };
  std::erase_if(workers_, [&](const auto& entry) { return !used(entry.first); });
  for (const auto& [name, worker] : catalog.workers()) worker_at(worker.endpoint);
  bool all = !catalog.empty();
  for (std::uint16_t i = 0; all && i < catalog.partitions(); ++i) {
    const PartitionInfo* info = catalog.find_partition({i});
    all = admission_->route({i}, {}).has_value() && info->in_sync.size() >= info->min_in_sync;
  }
  ready_ = all;
}

}  // namespace dmq
