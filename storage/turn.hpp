// What a worker's loop carries from its sockets to the commit and back: requests, replies, and one turn of both.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/envelope.hpp"
#include "protocol/header.hpp"
#include "storage/queue.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

struct Now {
  TimeMs steady;  // for deadlines
  TimeMs wall;    // for what is stored
};

// The way back: the router's routing id and the envelope, as received.
struct ReplyTo {
  std::string router;
  std::string envelope;
};

// The views belong to frames that live until the turn is over.
struct Request {
  ReplyTo to;
  Envelope envelope;  // decoded; its client view points into `to` or the frame
  std::string_view header;
  std::string_view payload;
};

struct Reply {
  ReplyTo to;
  std::string header;
  std::string payload;
};

// One message on its way out of LEASED.
struct Settling {
  enum class Kind : std::uint8_t { kAck, kGiveBack };
  Kind kind = Kind::kAck;
  RecordPlace place;
  QueueId queue;
  Lease lease;
  TimeMs ready_at;  // kGiveBack; steady clock
};

// A reply that waits for the commit.
struct PendingReply {
  ReplyTo to;
  RequestId id;
  std::string payload;  // once committed
};

// One group commit. Order: commit `writes`, apply the settlings, then send the replies. A reply sent before its commit
// promises what a crash can undo.
struct Turn {
  WriteBatch writes;
  std::vector<Settling> settlings;
  std::vector<PendingReply> replies;
  std::uint64_t stored_bytes = 0;        // what `writes.messages` adds to the store; bounds the turn
  std::deque<std::string> kept_strings;  // what views in `writes` point into, besides the frames

  bool empty() const { return writes.empty() && replies.empty() && settlings.empty(); }
};

}  // namespace dmq
