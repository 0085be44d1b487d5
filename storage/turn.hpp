// What a worker's loop carries from its sockets to the commit and back: requests, replies, and one turn of both.
#pragma once

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/envelope.hpp"
#include "protocol/header.hpp"
#include "protocol/queue_stats.hpp"
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

// A reply that waits until its partition has committed all below `end`.
struct PendingReply {
  ReplyTo to;
  RequestId id;
  std::string payload;  // once committed
  PartitionId partition;
  Epoch epoch;  // in which it was asked
  Lsn end;
  Confirmation confirm = Confirmation::kInSync;  // kLeader: it waits for the leader's disk alone
  Error error{Errc::kOk, {}};                    // kOk, or what is told instead of the payload
  Replies replies = Replies::kLast;
  bool tells_purged = false;  // the payload comes when the record before `end` is applied
  bool hands_out = false;     // messages, under leases that another leader may have kept
  std::string consumer;       // of those: who asked for them; empty: not named
  struct Counted {
    QueueId queue;
    Traffic kind = Traffic::kSent;
    std::uint64_t messages = 0;
  } counted;  // when the reply goes out

  std::string header() const {
    return error.code == Errc::kOk ? encode_confirmed_header(id, confirm, replies) : encode_reply_header(id, error);
  }
};

// How far a turn brings one partition's log. A log that was cut back meanwhile has another generation.
struct LogEnd {
  Lsn end;
  std::uint64_t generation = 0;
};

// One group commit. Order: one transaction with `effects`, then `writes`; then send the replies whose partition has
// committed. A reply sent before promises what a crash can undo.
struct Turn {
  WriteBatch effects;  // of what is committed already: kept for the next turn when this one cannot be written
  WriteBatch writes;
  std::vector<PendingReply> replies;
  std::map<PartitionId, LogEnd> ends;    // the partitions that `writes` appends to
  std::set<PartitionId> changed;         // partitions whose state is to be written
  std::uint64_t stored_bytes = 0;        // what `writes.records` adds to the store; bounds the turn
  std::deque<std::string> kept_strings;  // what views in `writes` point into, besides the frames
  std::vector<std::shared_ptr<const std::string>> kept_records;  // likewise

  bool empty() const { return !urgent() && effects.empty() && changed.empty(); }
  // Somebody waits for it. Effects alone can wait for company.
  bool urgent() const {
    return !writes.empty() || !replies.empty() || !ends.empty() || effects.removals.size() >= kEffectsMax;
  }
  // A turn that was gathered behind this one, which cannot be written, cannot be either: they fail as one.
  void absorb(Turn&& later) {
    later.effects.prepend(std::move(effects));
    effects = std::move(later.effects);
    std::move(later.replies.begin(), later.replies.end(), std::back_inserter(replies));
    ends.merge(later.ends);
    changed.merge(later.changed);
  }
  static constexpr std::size_t kEffectsMax = 1000;
};

}  // namespace dmq
