// The bodies of control records: what happened to messages and producers, as it is logged and shipped.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/error.hpp"
#include "storage/record.hpp"
#include "storage/return_state.hpp"

namespace dmq {

// A message that is done for good.
struct AckedMessage {
  Lsn lsn;
  std::uint32_t bytes;  // of its record
  bool operator==(const AckedMessage&) const = default;
};

// A message that came back to its queue, or that leaves it.
struct ReturnedMessage {
  Lsn lsn;
  ReturnState state;  // its mark is the place of the record
  bool operator==(const ReturnedMessage&) const = default;
};

// A message that goes out under a lease which is kept for it, or whose lease goes on for longer.
struct LeasedMessage {
  Lsn lsn;
  std::uint32_t bytes;  // of its record
  LoggedLease lease;
  bool operator==(const LeasedMessage&) const = default;
};

// LSNs [first, end) of the partition.
struct LogRange {
  Lsn first;
  Lsn end;
  bool operator==(const LogRange&) const = default;
};

using Acks = std::vector<AckedMessage>;
using Returns = std::vector<ReturnedMessage>;
using ProducerNames = std::vector<std::string>;
using Leases = std::vector<LeasedMessage>;
using ControlBody = std::variant<std::monostate, Acks, Returns, ProducerNames, LogRange, Leases>;

// Little-endian, without padding (docs/disk-format.md, "Control records"): acks are lsn u64, bytes u32; returns lsn
// u64, a length u16 and so many bytes of state (storage/return_state.hpp), those of the older kind lsn u64, deliveries
// u32, ready_ms i64; names are a length u8 and that many bytes; a range is first u64, end u64; leases lsn u64, bytes
// u32, and the lease (storage/return_state.hpp).
std::string encode_control(const ControlBody& body);
// Errors: internal, when the bytes do not end where an item does, or the type has another body or is no control record.
Result<ControlBody> decode_control(RecordType type, std::string_view bytes);

}  // namespace dmq
