// One table: code, name on the wire, sentence, and whether a retry can help.
#include "protocol/error.hpp"

#include <array>

namespace dmq {
namespace {

struct Entry {
  Errc code;
  std::string_view name;
  std::string_view text;
  bool retry;
};

constexpr std::array<Entry, 19> kTable{{
    {Errc::kOk, "ok", "done", false},
    {Errc::kMalformed, "malformed", "the request does not have the shape that the protocol gives", false},
    {Errc::kUnsupportedVersion, "unsupported_version", "this broker speaks protocol version 1", false},
    {Errc::kUnknownOp, "unknown_op", "there is no such operation", false},
    {Errc::kInvalidArgument, "invalid_argument", "a value is out of its range", false},
    {Errc::kTooLarge, "too_large", "the request is over a limit; hello tells the limits", false},
    {Errc::kNoSuchQueue, "no_such_queue", "there is no such queue", false},
    {Errc::kQueueExists, "queue_exists", "the queue exists with other settings", false},
    {Errc::kDenied, "denied", "this is not allowed here", false},
    {Errc::kUnavailable, "unavailable", "a part of the broker is away; try again", true},
    {Errc::kInsufficientStorage, "insufficient_storage", "the store is full; receive and ack messages, or enlarge it",
     true},
    {Errc::kStaleReceipt, "stale_receipt",
     "the receipt is not valid (any more): acked before, leased again since, or not of this queue", false},
    {Errc::kOutOfSequence, "out_of_sequence", "the sequence does not follow the producer's last one", false},
    {Errc::kUnsupported, "unsupported", "this broker does not offer that", false},
    {Errc::kInternal, "internal", "the broker has a fault; its log says more", false},
    {Errc::kNotEnoughReplicas, "not_enough_replicas", "too few replicas are in sync to keep this safe; try again",
     true},
    {Errc::kPaused, "paused", "the queue is paused for sending; somebody has to resume it", true},
    {Errc::kVersionConflict, "version_conflict", "the queue's settings have another version by now; look at them again",
     false},
    {Errc::kQueueFull, "queue_full", "the queue holds as much as it may; receive and ack some messages", true},
}};

}  // namespace

std::string_view code_name(Errc code) { return kTable[static_cast<std::size_t>(code)].name; }
std::string_view code_text(Errc code) { return kTable[static_cast<std::size_t>(code)].text; }
bool is_retryable(Errc code) { return kTable[static_cast<std::size_t>(code)].retry; }

std::optional<Errc> code_from_name(std::string_view name) {
  for (const Entry& entry : kTable) {
    if (entry.name == name) return entry.code;
  }
  return std::nullopt;
}

}  // namespace dmq
