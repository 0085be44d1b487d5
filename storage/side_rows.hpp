// The rows of the store that are no records: their keys, and their values under a checksum.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "storage/log_keys.hpp"
#include "storage/tally.hpp"
#include "storage/write_batch.hpp"

namespace dmq {

// Second byte of a key of a side row, behind kSideRows.
inline constexpr char kPartitionRow = 'm';
inline constexpr char kEpochsRow = 'e';
inline constexpr char kReturnsRow = 'd';
inline constexpr char kProducerRow = 'p';
inline constexpr char kStoreRow = 's';
inline constexpr char kDroppedRow = 'x';

std::string partition_key(PartitionId partition);
std::string tally_key(PartitionId partition);  // beside the partition's: they are written together
std::string epochs_key(PartitionId partition);
std::string returns_key(RecordPlace place);
std::string producer_key(const ProducerKey& key);
std::string dropped_key(const QueuePlace& place);
std::string store_key(std::string_view name);

// Values of the present version; the checksum covers the key too.
std::string seal(std::string_view key, std::string_view content);
std::string sealed_state(std::string_view key, const PartitionState& state);
std::string sealed_tally(std::string_view key, const Tally& tally, std::uint64_t commit);
std::string sealed_epochs(std::string_view key, const EpochTable& epochs);
std::string sealed_return(std::string_view key, const ReturnState& state);
std::string sealed_producer(std::string_view key, const ProducerState& state);
std::string sealed_dropped(std::string_view key, Lsn below);
std::string sealed_version(std::string_view key, std::uint32_t version);
std::string sealed_commit(std::string_view key, std::uint64_t commit);

// What is in a value; empty: it is not of the present version, or damaged.
std::optional<std::string_view> unseal(std::string_view key, std::string_view value);
// The same value in the present version, if it is of an older one.
std::string resealed(std::string_view key, std::string_view value);
// A side row of some kind by its key.
bool is_side_key(std::string_view key);

struct LogVisitor;
void visit_side_row(std::string_view key, std::string_view value, const LogVisitor& visitor);
PartitionId partition_of(std::string_view key);  // of any row but the store's
// Empty: it is no tally.
std::optional<Tally> read_tally(std::string_view key, std::string_view value);
// The number of the commit that wrote it, of a tally or of the store's row `commit`; 0: it is neither.
std::uint64_t read_commit(std::string_view key, std::string_view value);
// Any version's. 0: it cannot be read.
std::uint32_t read_version(std::string_view key, std::string_view value);

}  // namespace dmq
