// One record of the log as bytes on disk: a fixed header, producer, attributes and body, under one checksum.
#pragma once

#include <cstdint>
#include <string_view>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// What was decided. All but messages are control records: their effect is kept elsewhere once they are applied, and
// they go when no replica needs them any more.
enum class RecordType : std::uint8_t {
  kMessage = 1,
  kEpochStart = 2,       // a term begins; no body
  kAcks = 3,             // messages are done for good; body: acks (storage/control.hpp)
  kOldReturns = 4,       // messages came back, as earlier versions wrote it; body: returns
  kForgetProducers = 5,  // producers that were silent for long; body: names
  kDropQueue = 6,        // a queue was deleted: its messages and producers go; no body
  kCompare = 7,          // the replicas compare what they have of a range; body: first and end
  kReturns = 8,          // messages came back, or leave; body: returns
  kPurge = 9,            // all messages of a queue before this record go; no body
  kLeases = 10,          // messages with an ordering key go out, or are kept for longer; body: leases
};

inline constexpr std::uint8_t kRecordVersion = 2;
inline constexpr std::uint8_t kKeyedRecordVersion = 3;

// Layout, version 2, little-endian (docs/disk-format.md, "Record"):
//   0 u64 checksum of all that follows, seeded with partition and lsn | 8 u8 version | 9 u8 type | 10 u8 producer bytes
//   11 u8 priority | 12 u32 epoch | 16 u64 queue | 24 i64 sent_ms | 32 i64 ready_ms | 40 i64 expires_ms
//   48 u32 attribute bytes | 52 u32 body bytes | 56 u64 sequence | 64 producer, attributes, body
// Version 3, of messages with an ordering key: 64 u64 key, and what follows begins at 72.
// Version 1 is read too: it has neither producer nor sequence, and what follows begins at 56.
struct RecordHeader {
  RecordType type = RecordType::kMessage;
  std::uint8_t version = kRecordVersion;
  std::uint8_t producer_bytes = 0;  // 0: sent by an anonymous producer
  std::uint8_t priority = 0;        // 0: none yet
  Epoch epoch;                      // the term in which it was appended
  QueueId queue;
  TimeMs sent_ms;     // since 1970, when the leader took it
  TimeMs ready_ms;    // since 1970; 0: at once
  TimeMs expires_ms;  // since 1970; 0: never
  std::uint32_t attribute_bytes = 0;
  std::uint32_t body_bytes = 0;
  Sequence sequence;  // of the producer
  OrderingKey key;

  void set_key(OrderingKey value) {
    key = value;
    version = value.value == 0 ? kRecordVersion : kKeyedRecordVersion;
  }
};

inline constexpr std::size_t kRecordHeaderBytes = 64;

inline std::size_t header_bytes(const RecordHeader& header) {
  return header.version == 1 ? 56 : header.version == kKeyedRecordVersion ? 72 : kRecordHeaderBytes;
}
inline std::size_t record_bytes(const RecordHeader& header) {
  return header_bytes(header) + header.producer_bytes + header.attribute_bytes + header.body_bytes;
}

// Where a record lies; it seeds the checksum, so that a record found in a wrong place is as bad as a torn one.
struct RecordPlace {
  PartitionId partition;
  Lsn lsn;
  auto operator<=>(const RecordPlace&) const = default;
};

// A record in memory; the views point into the decoded bytes, or to where a new record's parts lie.
struct RecordView {
  RecordHeader header;
  std::string_view producer;
  std::string_view attributes;
  std::string_view body;
};

// Writes the whole record at `out`, which has record_bytes(header) bytes. REQUIRES: not version 1, and lengths in the
// header that are those of the views.
void write_record(char* out, RecordPlace place, const RecordView& record);

// The header alone, without the checksum: enough to index the record. `bytes` may be the start of a record.
// Errors: internal (too short, unknown version or type).
Result<RecordHeader> read_record_header(std::string_view bytes);

// A whole record, checksum verified. Errors: internal, when anything does not fit.
Result<RecordView> read_record(std::string_view bytes, RecordPlace place);

}  // namespace dmq
