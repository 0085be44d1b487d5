// The frame that a router puts before a client's frames on their way to a worker, and that comes back with the reply.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// Inside the broker a request is [envelope][header][payload] and so is all that answers it.
enum class EnvelopeKind : std::uint8_t {
  kRequest = 0,        // router to worker
  kReply = 1,          // worker to router
  kHandBack = 2,       // worker to router: I do not lead this partition (or know this queue); frames unchanged
  kUndeliverable = 3,  // router to worker: your reply found no client; frames unchanged, so leases can be released
};

// The envelope is owned by the router: a worker copies it and changes `kind` alone. So routers keep no state
// about requests under way. Layout (docs/protocol.md, "Inside the broker"): 1 version, 1 kind, 1 flags, 1 hops,
// 2 partition, 2 zero, 4 epoch, 4 position, 8 queue, all little-endian, then the client's routing id.
struct Envelope {
  EnvelopeKind kind = EnvelopeKind::kRequest;
  bool delimiter = false;  // the client is a REQ socket: its empty frame goes back too
  bool admin = false;      // it came in on the administrators' socket
  std::uint8_t hops = 0;   // how often a worker handed it back
  PartitionId partition;
  Epoch epoch;                 // of the partition, as the router knows it
  std::uint32_t position = 0;  // the router's count of the bytes that it sent to the worker, modulo 2^32
  QueueId queue;
  std::string_view client;
};

inline constexpr std::size_t kEnvelopeBytes = 24;  // without the client's routing id
inline constexpr std::size_t kRoutingIdBytesMax = 255;

std::string encode_envelope(const Envelope& envelope);
// Errors: malformed. The client view points into `bytes`.
Result<Envelope> decode_envelope(std::string_view bytes);
// Changes the kind in place. REQUIRES: `bytes` is an encoded envelope.
void set_envelope_kind(char* bytes, EnvelopeKind kind);

}  // namespace dmq
