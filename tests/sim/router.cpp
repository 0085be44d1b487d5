// Requests on, replies back, and those that wait for a new map.
#include "tests/sim/router.hpp"

#include <algorithm>

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
      alarm_(world, [this] { turn(); }) {
  tie_->begin([](const CatalogChange*) {}, [this] { alarm_.at(world_.now()); });
  alarm_.at(0);
}

void Router::turn() {
  tie_->step({world_.now()});
  alarm_.at(tie_->next_deadline().value);
}

void Router::take_request(std::string client, ClientFrames frames) { dispatch({std::move(client), std::move(frames)}); }

void Router::dispatch(Incoming request) {
  const auto decoded = decode_request_header(request.frames.header, reader_, header_);
  must(decoded.has_value(), "a client's request is well-formed");
  const Decision decision = admission_.decide(header_, request.frames.payload, false);
  if (const auto* route = std::get_if<Route>(&decision)) return forward(std::move(request), *route);
  if (const auto* error = std::get_if<Error>(&decision)) return refuse(request, *error);
  violated("a router asks for what only clients of other kinds ask");
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
  if (envelope->kind == EnvelopeKind::kHandBack) {
    return hold_again(
        {std::string(envelope->client), {std::move(reply.header), std::move(reply.payload)}, envelope->hops});
  }
  ClientFrames frames{std::move(reply.header), std::move(reply.payload)};
  if (wires_.reply(std::string(envelope->client), frames, sent) || frames.payload.empty()) return;
  set_envelope_kind(reply.to.envelope.data(), EnvelopeKind::kUndeliverable);
  wires_.request(self_, worker, {std::move(reply.to.envelope), std::move(frames.header), std::move(frames.payload)});
}

void Router::hold_again(Incoming request) {
  if (request.hops >= kHopsMax) return refuse(request, {Errc::kUnavailable, "the queue's place is changing"});
  ++request.hops;
  world_.in(kRetryAfterMs, [this, request = std::move(request)]() mutable { dispatch(std::move(request)); });
}

void Router::refuse(const Incoming& request, const Error& error) {
  const auto decoded = decode_request_header(request.frames.header, reader_, header_);
  must(decoded.has_value(), "a client's request is well-formed");
  wires_.reply(request.client, {encode_reply_header(header_.id, error), {}}, {});
}

}  // namespace dmq::sim
