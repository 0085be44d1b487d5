// What one transaction of the log does, and what it adds to the tallies.
#include <lmdb.h>

#include "storage/log.hpp"
#include "storage/log_rows.hpp"
#include "storage/side_rows.hpp"

namespace dmq {
namespace {

constexpr std::size_t kPartitionPrefix = 1 + 2;         // of a log key
constexpr std::size_t kPlacePrefix = kLogKeyBytes - 2;  // all but the chunk

}  // namespace

int Log::write(MDB_txn* txn, const WriteBatch& effects, const WriteBatch& writes) {
  int code = 0;
  for (const WriteBatch* batch : {&effects, &writes}) {
    if (code == 0) code = write_truncations(txn, *batch);
    if (code == 0) code = write_removals(txn, *batch);
    if (code == 0) code = write_records(txn, *batch);
    if (code == 0) code = write_side(txn, *batch);
  }
  for (const WriteBatch* batch : {&effects, &writes}) {
    for (const PartitionId partition : batch->recounts) {
      if (code == 0) code = recount(txn, partition);
    }
  }
  return code != 0 ? code : write_tallies(txn);
}

int Log::write_truncations(MDB_txn* txn, const WriteBatch& batch) {
  int code = 0;
  for (const RecordPlace place : batch.truncations) {
    const LogKey first = log_key(place, 0);
    if (code == 0) code = delete_from(txn, text_of(val(first)), kPartitionPrefix);
    if (code == 0) code = delete_from(txn, returns_key(place), 1 + 1 + 2);
  }
  return code;
}

// Deletes the rows from `first` on that begin with as many of its bytes. They are few: looking for the first one again
// and again needs no knowledge of where a cursor stands after a deletion.
int Log::delete_from(MDB_txn* txn, std::string_view first, std::size_t prefix_bytes) {
  MDB_cursor* cursor = nullptr;
  int code = mdb_cursor_open(txn, table_, &cursor);
  if (code != 0) return code;
  while (code == 0) {
    MDB_val key = val(first);
    MDB_val value{};
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    if (code != 0 || !text_of(key).starts_with(first.substr(0, prefix_bytes))) break;
    if (is_log_key(bytes_at(key), key.mv_size)) tally(key).remove(row_hash(key, value));
    code = mdb_cursor_del(cursor, 0);
  }
  mdb_cursor_close(cursor);
  return code == MDB_NOTFOUND ? 0 : code;
}

int Log::write_records(MDB_txn* txn, const WriteBatch& batch) {
  if (batch.records.empty()) return 0;
  MDB_cursor* cursor = nullptr;
  if (const int opened = mdb_cursor_open(txn, table_, &cursor); opened != 0) return opened;
  // A record behind all others is appended: LMDB then fills pages instead of splitting them in halves.
  MDB_val key{};
  MDB_val value{};
  RecordPlace last{};
  bool any = mdb_cursor_get(cursor, &key, &value, MDB_LAST) == 0 && is_log_key(bytes_at(key), key.mv_size);
  if (any) last = place_of(bytes_at(key));
  int code = 0;
  for (const PutRecord& record : batch.records) {
    const bool appended = !any || last < record.place;
    if (appended) last = record.place;
    any = true;
    code = put_record(cursor, record, appended ? MDB_APPEND : MDB_NOOVERWRITE);
    if (code == MDB_KEYEXIST) {  // one that is damaged, or rows that a damaged one has left
      const LogKey first = log_key(record.place, 0);
      code = delete_from(txn, text_of(val(first)), kPlacePrefix);
      if (code == 0) code = put_record(cursor, record, MDB_NOOVERWRITE);
    }
    if (code != 0) break;
  }
  mdb_cursor_close(cursor);
  constexpr std::size_t kScratchKept = 1 << 20;
  if (scratch_.capacity() > kScratchKept) std::string().swap(scratch_);
  return code;
}

int Log::put_record(MDB_cursor* cursor, const PutRecord& record, unsigned flags) {
  const std::size_t bytes = record_bytes(record.record.header);
  const auto put = [&](std::uint16_t chunk, MDB_val* data, unsigned more) {
    const LogKey name = log_key(record.place, chunk);
    MDB_val key = val(name);
    return mdb_cursor_put(cursor, &key, data, flags | more);
  };
  const auto count = [&](std::uint16_t chunk, const MDB_val& data) {
    const LogKey name = log_key(record.place, chunk);
    tally(val(name)).add(row_hash(val(name), data));
  };
  if (bytes <= kInlineBytesMax) {
    MDB_val space{bytes, nullptr};
    if (const int code = put(0, &space, MDB_RESERVE); code != 0) return code;
    if (record.encoded.empty()) {
      write_record(static_cast<char*>(space.mv_data), record.place, record.record);
    } else {
      std::memcpy(space.mv_data, record.encoded.data(), bytes);
    }
    count(0, space);
    return 0;
  }
  if (record.encoded.empty()) {
    scratch_.resize(bytes);
    write_record(scratch_.data(), record.place, record.record);
  }
  const std::string_view whole = record.encoded.empty() ? std::string_view(scratch_) : record.encoded;
  for (std::size_t i = 0; i < chunk_count(bytes); ++i) {
    const auto chunk = static_cast<std::uint16_t>(i);
    MDB_val part = val(whole.substr(i * kChunkBytesMax, kChunkBytesMax));
    const MDB_val written = part;
    if (const int code = put(chunk, &part, 0); code != 0) return code;
    count(chunk, written);
  }
  return 0;
}

int Log::write_removals(MDB_txn* txn, const WriteBatch& batch) {
  if (batch.removals.empty()) return 0;
  MDB_cursor* cursor = nullptr;
  if (const int opened = mdb_cursor_open(txn, table_, &cursor); opened != 0) return opened;
  int code = 0;
  for (const RecordPlace place : batch.removals) {
    const LogKey first = log_key(place, 0);
    MDB_val key = val(first);
    MDB_val value{};
    code = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    const auto header = code == 0 ? read_record_header(text_of(value)) : fail(Errc::kInternal, {});
    if (header && chunk_count(record_bytes(*header)) == 1) {
      tally(key).remove(row_hash(key, value));
      code = mdb_cursor_del(cursor, 0);
    } else if (code == 0 || code == MDB_NOTFOUND) {
      code = delete_from(txn, text_of(val(first)), kPlacePrefix);  // several rows, or what a damaged record has left
    }
    if (code != 0) break;
  }
  mdb_cursor_close(cursor);
  return code;
}

int Log::write_side(MDB_txn* txn, const WriteBatch& batch) {
  int code = 0;
  const auto put = [&](const std::string& name, const std::string& row) {
    MDB_val key = val(name);
    MDB_val value = val(row);
    if (code == 0) code = mdb_put(txn, table_, &key, &value, 0);
  };
  const auto remove = [&](const std::string& name) {
    MDB_val key = val(name);
    if (code == 0) code = mdb_del(txn, table_, &key, nullptr);
    if (code == MDB_NOTFOUND) code = 0;
  };
  // First the removals: a producer that is forgotten and sends again in one turn stays.
  for (const ProducerKey& key : batch.forgotten_producers) remove(producer_key(key));
  for (const auto& [partition, state] : batch.partitions) {
    const std::string name = partition_key(partition);
    put(name, sealed_state(name, state));
  }
  for (const auto& [partition, epochs] : batch.epochs) {
    const std::string name = epochs_key(partition);
    put(name, sealed_epochs(name, epochs));
  }
  for (const auto& [place, state] : batch.returns) {
    const std::string name = returns_key(place);
    state.is_empty() ? remove(name) : put(name, sealed_return(name, state));
  }
  for (const auto& [key, state] : batch.producers) {
    const std::string name = producer_key(key);
    put(name, sealed_producer(name, state));
  }
  for (const auto& [place, below] : batch.dropped) {
    const std::string name = dropped_key(place);
    below.value == 0 ? remove(name) : put(name, sealed_dropped(name, below));
  }
  return code;
}

// --- tallies ---------------------------------------------------------------------------------------------------------

Tally& Log::tally(const MDB_val& key) {
  const PartitionId partition = place_of(bytes_at(key)).partition;
  const auto found = changed_tallies_.find(partition);
  if (found != changed_tallies_.end()) return found->second;
  const auto before = tallies_.find(partition);
  return changed_tallies_.emplace(partition, before == tallies_.end() ? Tally{} : before->second).first->second;
}

// After damage was repaired: what went may have been counted otherwise than when it came.
int Log::recount(MDB_txn* txn, PartitionId partition) {
  const LogKey first = log_key({partition, {}}, 0);
  const std::string_view name = text_of(val(first));
  Tally counted;
  const auto count = [&](const MDB_val& key, const MDB_val& value) { counted.add(row_hash(key, value)); };
  const int code = each_row(txn, table_, name, name.substr(0, kPartitionPrefix), count);
  changed_tallies_[partition] = counted;
  return code;
}

int Log::write_tallies(MDB_txn* txn) {
  if (changed_tallies_.empty()) return write_commit_number(txn);
  const std::uint64_t commit = mdb_txn_id(txn);
  int code = 0;
  for (const auto& [partition, tally] : changed_tallies_) {
    const std::string name = tally_key(partition);
    const std::string row = sealed_tally(name, tally, commit);
    MDB_val key = val(name);
    MDB_val value = val(row);
    if (code == 0) code = mdb_put(txn, table_, &key, &value, 0);
  }
  return code;
}

int Log::write_commit_number(MDB_txn* txn) {
  const std::string name = store_key("commit");
  const std::string row = sealed_commit(name, mdb_txn_id(txn));
  MDB_val key = val(name);
  MDB_val value = val(row);
  return mdb_put(txn, table_, &key, &value, 0);
}

}  // namespace dmq
