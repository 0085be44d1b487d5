// The log's rows as LMDB gives and takes them; for the log's own files.
#pragma once

#include <lmdb.h>
#include <xxhash.h>

#include <cstring>
#include <string>
#include <string_view>

#include "protocol/error.hpp"
#include "storage/log_keys.hpp"

namespace dmq {

inline constexpr std::uint32_t kStoreVersion = 3;  // versions 1 and 2 are read too, and become 3

// What LMDB's code means: insufficient_storage when there is no room, internal otherwise.
tl::unexpected<Error> log_failure(const std::string& what, int code, const std::string& directory);

inline MDB_val val(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
inline MDB_val val(const LogKey& key) { return {key.size(), const_cast<unsigned char*>(key.data())}; }
inline const unsigned char* bytes_at(const MDB_val& value) { return static_cast<const unsigned char*>(value.mv_data); }
inline std::string_view text_of(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

// What a row of the log adds to its partition's tally: its key, with the checksum at the start of a record's first
// part.
inline std::uint64_t row_hash(const MDB_val& key, const MDB_val& value) {
  std::uint64_t checksum = 0;
  if (chunk_of(bytes_at(key)) == 0 && value.mv_size >= sizeof checksum) {
    std::memcpy(&checksum, value.mv_data, sizeof checksum);
  }
  return XXH3_64bits_withSeed(key.mv_data, key.mv_size, checksum);
}

// Calls `row(key, value)` for each row from `first` on whose key begins with `prefix`; returns LMDB's code.
template <class Row>
int each_row(MDB_txn* txn, MDB_dbi table, std::string_view first, std::string_view prefix, Row row) {
  MDB_cursor* cursor = nullptr;
  if (const int code = mdb_cursor_open(txn, table, &cursor); code != 0) return code;
  MDB_val key = val(first);
  MDB_val value{};
  int code = mdb_cursor_get(cursor, &key, &value, first.empty() ? MDB_FIRST : MDB_SET_RANGE);
  while (code == 0 && text_of(key).starts_with(prefix)) {
    row(key, value);
    code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? 0 : code;
}

}  // namespace dmq
