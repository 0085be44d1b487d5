// Keys of the log's tables: big-endian, so that LMDB's byte order is the order of partitions and LSNs.
#pragma once

#include <array>
#include <cstdint>

#include "storage/record.hpp"

namespace dmq {

// A value up to kInlineBytesMax shares a leaf page; up to kChunkBytesMax it takes one page of its own. Larger
// values need several free pages in a row, which after a drained backlog take LMDB 154 ms to find, so records are cut.
inline constexpr std::size_t kInlineBytesMax = 2017;  // (4096 - 16) / 2 - 2, less 8 of the node and 13 of the key
inline constexpr std::size_t kChunkBytesMax = 4080;   // 4096 - 16
inline constexpr std::size_t kLogKeyBytes = 13;

// All rows lie in one tree, because each tree that a commit touches costs it two more pages to write and sync. The
// records stand last, so that the newest one is most often the last row of all.
inline constexpr unsigned char kSideRows = 0;  // first byte of keys
inline constexpr unsigned char kLogRows = 1;

using LogKey = std::array<unsigned char, kLogKeyBytes>;

template <class T>
void put_big_endian(unsigned char* at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) at[i] = static_cast<unsigned char>(value >> (8 * (sizeof(T) - 1 - i)));
}

template <class T>
T get_big_endian(const unsigned char* at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((value << 8) | at[i]);
  return value;
}

inline LogKey log_key(RecordPlace place, std::uint16_t chunk) {
  LogKey key;
  key[0] = kLogRows;
  put_big_endian(key.data() + 1, place.partition.value);
  put_big_endian(key.data() + 3, place.lsn.value);
  put_big_endian(key.data() + 11, chunk);
  return key;
}

inline RecordPlace place_of(const unsigned char* key) {
  return {{get_big_endian<std::uint16_t>(key + 1)}, {get_big_endian<std::uint64_t>(key + 3)}};
}

inline std::uint16_t chunk_of(const unsigned char* key) { return get_big_endian<std::uint16_t>(key + 11); }

inline bool is_log_key(const unsigned char* key, std::size_t size) {
  return size == kLogKeyBytes && key[0] == kLogRows;
}

// How many values a record of `bytes` is cut into.
inline std::size_t chunk_count(std::size_t bytes) {
  return bytes <= kInlineBytesMax ? 1 : (bytes + kChunkBytesMax - 1) / kChunkBytesMax;
}

// What a record of so many bytes takes on disk, for the quota: bytes with LMDB's overhead, pages for chunks.
inline std::uint64_t stored_bytes(std::size_t record_bytes) {
  constexpr std::uint64_t kNodeOverhead = 10 + kLogKeyBytes;
  if (record_bytes <= kInlineBytesMax) return record_bytes + kNodeOverhead;
  return chunk_count(record_bytes) * (4096 + kNodeOverhead + 8);
}

}  // namespace dmq
