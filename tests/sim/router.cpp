// Requests on, replies back, and those that wait for a new map.
#include "tests/sim/router.hpp"

#include <algorithm>

#include "protocol/parts.hpp"

namespace dmq::sim {
namespace {

constexpr std::int64_t kRetryAfterMs = 50;
constexpr std::uint8_t kHopsMax = 10;

RegisterMember member_of(Endpoint self) { return {RegisterMember::Role::kRouter, "r" + std::to_string(self), "", ""}; }

}  // namespace

Router::Router(World& world, Network& network, Metad& metad, Endpoint self, const Wires& wires)
    : world_(world),
      self_(self),
      wires_(wires),
      tie_(std::make_shared<MetadTie>(world, network, metad, self, member_of(self))),
      admission_({.auto_create = false, .allow_delete = true}, tie_->catalog()),
      spread_("r" + std::to_string(self)),
      alarm_(world, [this] { turn(); }) {
  tie_->begin([](const CatalogChange*) {}, [this] { alarm_.at(world_.now()); });
  alarm_.at(0);
}

void Router::turn() {
  tie_->step(now());
  spread_.forget(now());
  alarm_.at(tie_->next_deadline().value);
}

void Router::take_request(std::string client, ClientFrames frames) { dispatch({std::move(client), std::move(frames)}); }

void Router::dispatch(Incoming request) {
  const auto decoded = decode_request_header(request.frames.header, reader_, header_);
  must(decoded.has_value(), "a client's request is well-formed");
  if (request.part) return dispatch_to_part(std::move(request));
  const Decision decision = admission_.decide(header_, request.frames.payload, false);
  if (const auto* route = std::get_if<Route>(&decision)) {
    return route->spread ? spread(std::move(request)) : forward(std::move(request), *route);
  }
  if (const auto* error = std::get_if<Error>(&decision)) return refuse(request, *error);
  violated("a router asks for what only clients of other kinds ask");
}

void Router::dispatch_to_part(Incoming request) {
  const QueueInfo* const queue = tie_->catalog().find_queue(header_.queue);
  if (queue == nullptr) return refuse(request, {Errc::kNoSuchQueue, "the queue was deleted"});
  const auto route = admission_.route(*request.part, queue->id);
  route ? forward(std::move(request), *route) : refuse(request, route.error());
}

void Router::spread(Incoming request) {
  const QueueInfo& queue = *tie_->catalog().find_queue(header_.queue);
  const std::uint16_t partitions = tie_->catalog().partitions();
  auto begun =
      spread_.begin({request.client}, request.frames.header, header_, request.frames.payload, queue, partitions, now());
  if (const auto* error = std::get_if<Error>(&begun)) return refuse(request, *error);
  if (const auto* through = std::get_if<Spread::Through>(&begun)) {
    request.part = place_of_part(queue, through->part, partitions);
    return dispatch_to_part(std::move(request));
  }
  if (auto* step = std::get_if<Spread::Step>(&begun)) return put_out(std::move(*step));
  for (Spread::Part& each : std::get<Spread::Copies>(begun).parts) {
    dispatch({request.client, {std::move(each.header), {}}, 0, place_of_part(queue, each.part, partitions)});
  }
}

void Router::put_out(Spread::Step step) {
  for (Spread::Part& each : step.asks) {
    const QueueInfo* const queue = tie_->catalog().find_queue(step.queue);
    if (queue == nullptr) return;
    dispatch({Spread::part_address(step.ticket, each.part),
              {std::move(each.header), std::move(each.payload)},
              0,
              place_of_part(*queue, each.part, tie_->catalog().partitions())});
  }
}

// `origin`: null, where no worker's reply led to it.
void Router::take_step(Spread::Step step, std::string payload, const Origin* origin) {
  if (step.give_back && origin != nullptr && !payload.empty()) give_back(*origin, {{}, std::move(payload)});
  if (step.answer) {
    const bool passes = step.answer->passes;
    reply(step.answer->client.routing_id,
          {std::move(step.answer->header), std::move(passes ? payload : step.answer->payload)},
          passes ? origin : nullptr);
  }
  put_out(std::move(step));
}

// To a client, or to ourselves.
void Router::reply(const std::string& client, ClientFrames frames, const Origin* origin) {
  if (const auto part = Spread::parse_part_address(client)) {
    Spread::Step step = spread_.on_reply(part->ticket, part->part, frames.header, frames.payload, now());
    return take_step(std::move(step), std::move(frames.payload), origin);
  }
  const bool reached = wires_.reply(client, frames, origin == nullptr ? Moment{} : origin->sent);
  if (!reached && origin != nullptr && !frames.payload.empty()) give_back(*origin, std::move(frames));
}

void Router::give_back(const Origin& origin, ClientFrames frames) {
  set_envelope_kind(origin.envelope.data(), EnvelopeKind::kUndeliverable);
  wires_.request(self_, origin.worker, {origin.envelope, std::move(frames.header), std::move(frames.payload)});
}

void Router::forward(Incoming request, const Route& route) {
  Envelope envelope;
  envelope.hops = request.hops;
  envelope.partition = route.partition;
  envelope.epoch = route.epoch;
  envelope.queue = route.queue;
  envelope.client = request.client;
  wires_.request(self_, route.endpoint,
                 {encode_envelope(envelope), std::move(request.frames.header), std::move(request.frames.payload)});
}

void Router::take_reply(const std::string& worker, Reply reply, Moment sent) {
  const auto envelope = decode_envelope(reply.to.envelope);
  ClientFrames frames{std::move(reply.header), std::move(reply.payload)};
  std::string client(envelope->client);
  if (envelope->kind == EnvelopeKind::kHandBack) {
    Incoming request{std::move(client), std::move(frames), envelope->hops, {}};
    const QueueInfo* const queue = tie_->catalog().find_queue(envelope->queue);
    if (queue != nullptr && queue->settings.partitions > 1) request.part = envelope->partition;
    return hold_again(std::move(request));
  }
  const Origin origin{worker, reply.to.envelope, sent};
  this->reply(client, std::move(frames), &origin);
}

void Router::hold_again(Incoming request) {
  if (request.hops >= kHopsMax) return refuse(request, {Errc::kUnavailable, "the queue's place is changing"});
  ++request.hops;
  world_.in(kRetryAfterMs, [this, request = std::move(request)]() mutable { dispatch(std::move(request)); });
}

void Router::refuse(const Incoming& request, const Error& error) {
  const auto decoded = decode_request_header(request.frames.header, reader_, header_);
  must(decoded.has_value(), "a client's request is well-formed");
  reply(request.client, {encode_reply_header(header_.id, error), {}}, nullptr);
}

}  // namespace dmq::sim
