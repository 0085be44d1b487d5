// What the replicas of one partition say to each other: shapes, and their codec.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

class MsgpackReader;

// A log's end is written as the LSN that comes next: a log with the records 1 to 5 has the end 6, an empty one 1.

// The first record of a term. Terms without records have no entry.
struct EpochStart {
  Epoch epoch;
  Lsn first;
  bool operator==(const EpochStart&) const = default;
};

// Leader to all, on its PUB socket (rule 4): the records [first, first + count) of its term, without gaps. With
// count = 0 it is a heartbeat, and `first` the leader's end, so that a lost tail is noticed.
struct AppendRecords {
  Lsn first;
  std::uint32_t count = 0;
  Epoch prev_epoch;  // of the record before `first`
  Lsn commit;        // end of what is committed
  Lsn trim;          // end of what every replica has: control records below it can go
};
// Follower to leader: all below `end` is on my disk (rule 5).
struct AckRecords {
  Lsn end;
};
// Follower to leader (rule 6). `end` counts only what is on disk. A snapshot under way goes on at `resume`; 1 asks for
// one, to compare what is there with what should be.
struct FetchRecords {
  std::uint64_t nonce = 0;  // echoed; only the outstanding one is taken, once
  Lsn end;
  Epoch last_epoch;  // of the record before `end`
  Lsn resume;        // 0: no snapshot is under way
  Lsn whole;         // in a snapshot records come whole from here on, since the follower's are no good; 0: none of them
};
// How far a producer came, as far as it is committed.
struct SnapshotProducer {
  QueueId queue;
  std::string name;
  Sequence last;
  TimeMs used_ms;  // since 1970
  Lsn place;       // all of its messages below are counted
};
// Leader to one follower: what follows `first`, without what is settled and gone.
struct FetchedRecords {
  std::uint64_t nonce = 0;
  Lsn first;         // the follower's end
  Lsn end;           // the follower's end once it has these; records missing in between are settled
  Epoch prev_epoch;  // of the record before `first`
  Lsn commit;
  Lsn trim;
  Lsn leader_end;                           // fetch again while behind it
  std::vector<EpochStart> epochs;           // terms that begin in [first, end)
  std::vector<SnapshotProducer> producers;  // who may have sent what is settled and gone in between
};
// Leader to one follower: your log is another one behind `end`, or behind your own end of `epoch` if that is lower.
struct TruncateRecords {
  std::uint64_t nonce = 0;
  Epoch epoch;
  Lsn end;
};
// Leader to one follower that is behind `trim`: which messages live in [first, end). A record that the follower has
// already (below its own end) is named by its place and checksum alone, the others come whole. It ends where `end`
// reaches `stamp`.
struct SnapshotRecords {
  std::uint64_t nonce = 0;
  Lsn first;
  Lsn end;
  Lsn stamp;  // the follower's end once the snapshot is complete: what the leader had applied when it began
  std::vector<EpochStart> epochs;           // all of them below `stamp`, with the last part
  std::vector<SnapshotProducer> producers;  // likewise
};

// Follower to leader: what it has of the range that the record at `at` names, as that record found it.
struct RangeHash {
  Lsn at;
  std::uint64_t hash = 0;  // below kNumberMax
};
// Leader to a follower: in that range your copy is another one than those of most replicas.
struct RangeDiffers {
  Lsn first;
  Lsn end;
};

// The leader of one partition to that of another: messages that leave a queue for a queue there, in the order of their
// marks. They go with it as in a snapshot, whole.
struct TransferRecords {
  PartitionId source;
  QueueId from;
  std::string from_name;
  QueueId to;
};
// Back, once they are committed: all messages from that queue to the other one up to `mark` are there.
struct TransferredRecords {
  QueueId from;
  QueueId to;
  std::uint64_t mark = 0;
};

using PeerBody = std::variant<AppendRecords, AckRecords, FetchRecords, FetchedRecords, TruncateRecords, SnapshotRecords,
                              RangeHash, RangeDiffers, TransferRecords, TransferredRecords>;

// Around each of them. A frame of another cluster, partition or epoch is dropped.
struct PeerMessage {
  std::uint64_t cluster = 0;
  PartitionId partition;
  Epoch epoch;
  std::string sender;  // worker's name
  SessionId session;   // the sender's; in answers to a fetch the fetcher's
  PeerBody body;
};

std::string encode_peer_message(const PeerMessage& message);
// Errors: malformed.
Result<PeerMessage> decode_peer_message(std::string_view bytes, MsgpackReader& reader);

// The records that go with a message, in a frame of their own, one after the other (docs/protocol.md, "Inside the
// broker"): lsn u64, state bytes u16, bytes u32, all little-endian, then the state and the record as on disk.
struct ShippedRecord {
  Lsn lsn;
  std::string_view state;  // in a snapshot: what became of it since it was sent; empty: nothing
  std::string_view bytes;  // in a snapshot the checksum alone: the follower has it
};
inline constexpr std::size_t kShippedChecksumBytes = 8;  // the first ones of a record
inline constexpr std::size_t kShippedRecordOverhead = 14;

void ship_record(std::string& out, const ShippedRecord& record);
// The same with room for the record's bytes: returns where they are to be written.
std::size_t ship_record_space(std::string& out, Lsn lsn, std::size_t bytes);
// Takes the first record off `bytes`. Errors: malformed.
Result<ShippedRecord> take_shipped_record(std::string_view& bytes);

}  // namespace dmq
