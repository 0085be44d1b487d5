// The error codes of DMQ/1 and the Result that carries them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace dmq {

// Wire contract: append only, never renumbered or reused. The table is in docs/protocol.md, "Errors".
enum class Errc : std::uint8_t {
  kOk = 0,
  kMalformed = 1,           // not the shape that the protocol page gives
  kUnsupportedVersion = 2,  // `v` is not one that this broker speaks
  kUnknownOp = 3,           // no such operation
  kInvalidArgument = 4,     // right shape, value out of its range
  kTooLarge = 5,            // over a documented limit of size or count
  kNoSuchQueue = 6,
  kQueueExists = 7,           // created before, with other settings
  kDenied = 8,                // not allowed here
  kUnavailable = 9,           // a part of the broker is away or busy; try again
  kInsufficientStorage = 10,  // the store is full; acks still work
  kStaleReceipt = 11,         // acked before, or leased again since
  kOutOfSequence = 12,        // a producer's sequence does not follow its last one
  kUnsupported = 13,          // known to the protocol, not offered by this broker
  kInternal = 14,             // a fault of the broker itself
  kNotEnoughReplicas = 15,    // too few replicas are in sync to keep it safe; nothing was done
  kPaused = 16,               // the queue takes no messages until somebody resumes it
  kVersionConflict = 17,      // the queue's settings are of another version than the request names
  kQueueFull = 18,            // the queue holds as much as it may; nothing was taken
};

// The symbolic code on the wire ("no_such_queue").
std::string_view code_name(Errc code);
std::optional<Errc> code_from_name(std::string_view name);

// The general sentence for a code, when there is no better context.
std::string_view code_text(Errc code);

// May the very same request succeed later, without the client changing anything?
bool is_retryable(Errc code);

struct Error {
  Errc code = Errc::kInternal;
  std::string context;  // a sentence for a person: what failed, on what, what to try
  bool operator==(const Error&) const = default;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Errc code, std::string context) {
  return tl::unexpected<Error>(Error{code, std::move(context)});
}

}  // namespace dmq
