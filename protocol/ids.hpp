// The identities of dmq as distinct types, and the two texts that clients see: message ids and receipts.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "protocol/error.hpp"

namespace dmq {

// A number that cannot be mistaken for another kind of number. Tag makes the type, Rep holds it.
template <class Tag, class Rep>
struct Id {
  Rep value = 0;
  auto operator<=>(const Id&) const = default;
};

using PartitionId = Id<struct PartitionTag, std::uint16_t>;
using QueueId = Id<struct QueueTag, std::uint64_t>;      // given by metad, never reused; 0 is no queue
using Lsn = Id<struct LsnTag, std::uint64_t>;            // place in a partition's log; 0 is before the first
using Epoch = Id<struct EpochTag, std::uint32_t>;        // one term of a partition's leader; 0 is before the first
using LeaseNumber = Id<struct LeaseTag, std::uint32_t>;  // grows with each lease of one leader's term
using Sequence = Id<struct SequenceTag, std::uint64_t>;  // a producer's count of messages to one queue, from 1
using OrderingKey = Id<struct OrderingKeyTag, std::uint64_t>;        // hash of a message's key; 0: it has none
using SessionId = Id<struct SessionTag, std::uint64_t>;              // one life of a worker or router, given by metad
using CatalogVersion = Id<struct CatalogVersionTag, std::uint64_t>;  // grows with each change of the catalog
using PartitionVersion =
    Id<struct PartitionVersionTag, std::uint64_t>;  // grows with each change of a partition's entry

// Milliseconds. TimeMs is since 1970 (wall clock) or since the start of the machine (steady clock): a field says which.
using TimeMs = Id<struct TimeTag, std::int64_t>;
using DurationMs = Id<struct DurationTag, std::int64_t>;

inline TimeMs operator+(TimeMs time, DurationMs span) { return {time.value + span.value}; }
inline DurationMs operator-(TimeMs later, TimeMs earlier) { return {later.value - earlier.value}; }

// Of a message: 0 (usual) to 9; higher ones go first.
using Priority = std::uint8_t;
inline constexpr std::size_t kPriorities = 10;

// One lease of one message, in its partition.
struct LeaseId {
  Epoch epoch;  // in which it was given
  LeaseNumber number;
  auto operator<=>(const LeaseId&) const = default;
};

// Names one lease of one message: only the holder of the latest lease can settle it (docs/protocol.md, "Receipts").
struct Receipt {
  PartitionId partition;
  Epoch epoch;
  Lsn lsn;
  LeaseNumber lease;
  LeaseId lease_id() const { return {epoch, lease}; }
  auto operator<=>(const Receipt&) const = default;
};

// The longest text of a message id ("65535-18446744073709551615") and of a receipt.
inline constexpr std::size_t kMessageIdTextMax = 5 + 1 + 20;
inline constexpr std::size_t kReceiptTextMax = 5 + 1 + 10 + 1 + 20 + 1 + 10;

// Text in the caller's buffer; returns the number of bytes written.
std::size_t write_message_id(PartitionId partition, Lsn lsn, char (&out)[kMessageIdTextMax]);
std::size_t write_receipt(const Receipt& receipt, char (&out)[kReceiptTextMax]);

// Errors: invalid_argument when it is no id of a message in this partition.
Result<Lsn> parse_message_id(std::string_view text, PartitionId partition);
std::string message_id_text(PartitionId partition, Lsn lsn);
std::string receipt_text(const Receipt& receipt);

// Errors: stale_receipt when the text is no receipt; to a client both mean the same: it holds nothing.
Result<Receipt> parse_receipt(std::string_view text);

}  // namespace dmq

template <class Tag, class Rep>
struct std::hash<dmq::Id<Tag, Rep>> {
  std::size_t operator()(const dmq::Id<Tag, Rep>& id) const noexcept { return std::hash<Rep>{}(id.value); }
};
