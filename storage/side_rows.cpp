// Packing of side rows, and what of earlier versions is still read.
#include "storage/side_rows.hpp"

#include <xxhash.h>

#include <utility>

#include "storage/log.hpp"

namespace dmq {
namespace {

constexpr char kVersion = '3';  // first byte of values
constexpr std::size_t kSealBytes = sizeof(std::uint64_t);
constexpr std::size_t kPlaceBytes = 1 + 1 + 2;  // kSideRows, the row's letter, the partition
constexpr char kTallyRow = 't';                 // behind the partition
constexpr std::size_t kIdentityBytes = 32;

template <class... Parts>
std::string packed(std::string start, Parts... parts) {
  const std::size_t before = start.size();
  start.resize(before + (sizeof(parts) + ... + 0));
  auto* at = reinterpret_cast<unsigned char*>(start.data()) + before;
  ((put_big_endian(at, parts), at += sizeof(parts)), ...);
  return start;
}

template <class... Parts>
std::string side_key(char row, Parts... parts) {
  return packed({static_cast<char>(kSideRows), row}, parts...);
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::uint64_t seal_of(std::string_view key, std::string_view content) {
  return XXH3_64bits_withSeed(content.data(), content.size(), XXH3_64bits(key.data(), key.size()));
}

// Version 1 of the row knew no replication: all of its log was applied.
std::optional<PartitionState> read_state(std::string_view content) {
  const unsigned char* const at = bytes_of(content);
  PartitionState state;
  if (content.size() != 12 && content.size() != 29) return std::nullopt;
  state.epoch = {get_big_endian<std::uint32_t>(at)};
  state.next_lsn = state.applied = state.trimmed = {get_big_endian<std::uint64_t>(at + 4)};
  if (content.size() == 12) return state;
  state.applied = {get_big_endian<std::uint64_t>(at + 12)};
  state.trimmed = {get_big_endian<std::uint64_t>(at + 20)};
  state.rebuilding = at[28] != 0;
  return state;
}

// Earlier ones had the count alone, or with the time when it is ready.
std::optional<ReturnState> read_return(std::string_view content) {
  ReturnState state;
  if (content.size() == 4 || content.size() == 12) {
    state.deliveries = get_big_endian<std::uint32_t>(bytes_of(content));
    if (content.size() == 12) state.ready_ms = {get_big_endian<std::int64_t>(bytes_of(content) + 4)};
    return state;
  }
  auto read = decode_return_state(content);
  return read && !read->is_empty() ? std::optional(std::move(*read)) : std::nullopt;
}

EpochTable read_epochs(std::string_view content) {
  const unsigned char* const at = bytes_of(content);
  std::vector<EpochStart> starts;
  for (std::size_t i = 0; i + 12 <= content.size(); i += 12) {
    starts.push_back({{get_big_endian<std::uint32_t>(at + i)}, {get_big_endian<std::uint64_t>(at + i + 4)}});
  }
  return EpochTable(std::move(starts));
}

}  // namespace

std::string partition_key(PartitionId partition) { return side_key(kPartitionRow, partition.value); }
std::string tally_key(PartitionId partition) { return partition_key(partition) + kTallyRow; }
std::string epochs_key(PartitionId partition) { return side_key(kEpochsRow, partition.value); }
std::string returns_key(RecordPlace place) { return side_key(kReturnsRow, place.partition.value, place.lsn.value); }
std::string producer_key(const ProducerKey& key) {
  return side_key(kProducerRow, std::get<PartitionId>(key).value, std::get<QueueId>(key).value) +
         std::get<std::string>(key);
}
std::string dropped_key(const QueuePlace& place) {
  return side_key(kDroppedRow, place.partition.value, place.queue.value);
}
std::string store_key(std::string_view name) { return side_key(kStoreRow).append(name); }

std::string seal(std::string_view key, std::string_view content) {
  std::string value = kVersion + std::string(content);
  return packed(std::move(value), seal_of(key, value));
}

std::string sealed_state(std::string_view key, const PartitionState& state) {
  return seal(key, packed({}, state.epoch.value, state.next_lsn.value, state.applied.value, state.trimmed.value,
                          static_cast<std::uint8_t>(state.rebuilding ? 1 : 0)));
}

std::string sealed_tally(std::string_view key, const Tally& tally, std::uint64_t commit) {
  return seal(key, packed({}, tally.rows, tally.sum, commit));
}

std::string sealed_epochs(std::string_view key, const EpochTable& epochs) {
  std::string row;
  for (const EpochStart& start : epochs.starts()) row = packed(std::move(row), start.epoch.value, start.first.value);
  return seal(key, row);
}

std::string sealed_return(std::string_view key, const ReturnState& state) {
  return seal(key, encode_return_state(state));
}

std::string sealed_producer(std::string_view key, const ProducerState& state) {
  return seal(key, packed({}, state.last.value, state.used_ms.value, state.place.value));
}

std::string sealed_dropped(std::string_view key, Lsn below) { return seal(key, packed({}, below.value)); }

std::string sealed_version(std::string_view key, std::uint32_t version) { return seal(key, packed({}, version)); }

std::string sealed_commit(std::string_view key, std::uint64_t commit) { return seal(key, packed({}, commit)); }

std::optional<std::string_view> unseal(std::string_view key, std::string_view value) {
  if (value.size() < 1 + kSealBytes || value[0] != kVersion) return std::nullopt;
  const std::string_view sealed = value.substr(0, value.size() - kSealBytes);
  if (get_big_endian<std::uint64_t>(bytes_of(value) + sealed.size()) != seal_of(key, sealed)) return std::nullopt;
  return sealed.substr(1);
}

// Earlier values had no checksum, and the identity not even a version.
std::string resealed(std::string_view key, std::string_view value) {
  const bool bare = key == store_key("id") && value.size() == kIdentityBytes;
  return unseal(key, value) ? std::string(value) : seal(key, bare || value.empty() ? value : value.substr(1));
}

bool is_side_key(std::string_view key) {
  if (key.size() < 2 || key[0] != static_cast<char>(kSideRows)) return false;
  switch (key[1]) {
    case kPartitionRow:
      return key.size() == kPlaceBytes || (key.size() == kPlaceBytes + 1 && key.back() == kTallyRow);
    case kEpochsRow:
      return key.size() == kPlaceBytes;
    case kReturnsRow:
    case kDroppedRow:
      return key.size() == kPlaceBytes + 8;
    case kProducerRow:
      return key.size() > kPlaceBytes + 8;
    case kStoreRow:
      return key == store_key("version") || key == store_key("id") || key == store_key("commit");
    default:
      return false;
  }
}

void visit_side_row(std::string_view key, std::string_view value, const LogVisitor& visitor) {
  const auto content = unseal(key, value);
  if (!content || !is_side_key(key) || key[1] == kStoreRow) return;
  const unsigned char* const at = bytes_of(*content);
  const PartitionId partition = partition_of(key);
  const auto number = [&] { return get_big_endian<std::uint64_t>(bytes_of(key) + kPlaceBytes); };
  if (key[1] == kPartitionRow && key.size() == kPlaceBytes) {
    if (const auto state = read_state(*content)) visitor.partition(partition, *state);
  } else if (key[1] == kEpochsRow) {
    visitor.epochs(partition, read_epochs(*content));
  } else if (key[1] == kReturnsRow) {
    if (const auto state = read_return(*content)) visitor.returned({partition, {number()}}, *state);
  } else if (key[1] == kDroppedRow && content->size() == 8) {
    visitor.dropped({partition, {number()}}, {get_big_endian<std::uint64_t>(at)});
  } else if (key[1] == kProducerRow && (content->size() == 16 || content->size() == 24)) {
    const Lsn place{content->size() == 16 ? 0 : get_big_endian<std::uint64_t>(at + 16)};
    visitor.producer({partition, {number()}, std::string(key.substr(kPlaceBytes + 8))},
                     {{get_big_endian<std::uint64_t>(at)}, {get_big_endian<std::int64_t>(at + 8)}, place});
  }
}

PartitionId partition_of(std::string_view key) { return {get_big_endian<std::uint16_t>(bytes_of(key) + 2)}; }

std::optional<Tally> read_tally(std::string_view key, std::string_view value) {
  if (key.size() != kPlaceBytes + 1 || key[1] != kPartitionRow) return std::nullopt;
  const auto content = unseal(key, value);
  if (!content || content->size() != 24) return std::nullopt;
  return Tally{get_big_endian<std::uint64_t>(bytes_of(*content)),
               get_big_endian<std::uint64_t>(bytes_of(*content) + 8)};
}

std::uint64_t read_commit(std::string_view key, std::string_view value) {
  const std::size_t before = read_tally(key, value) ? 16 : 0;
  const auto content = before != 0 || key == store_key("commit") ? unseal(key, value) : std::nullopt;
  return content && content->size() == before + 8 ? get_big_endian<std::uint64_t>(bytes_of(*content) + before) : 0;
}

std::uint32_t read_version(std::string_view key, std::string_view value) {
  const auto content = unseal(key, value);
  if (content) return content->size() == 4 ? get_big_endian<std::uint32_t>(bytes_of(*content)) : 0;
  return value.size() == 5 ? get_big_endian<std::uint32_t>(bytes_of(value) + 1) : 0;
}

}  // namespace dmq
