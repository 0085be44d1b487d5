// The log of one worker in LMDB: records of all its partitions, and the small tables that change with them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "protocol/error.hpp"
#include "runtime/data_directory.hpp"
#include "runtime/disk_reserve.hpp"
#include "storage/write_batch.hpp"

struct MDB_env;
struct MDB_txn;

namespace dmq {

// When a commit reaches the disk itself. Only kCommit keeps all that was confirmed through a loss of power.
enum class SyncMode : std::uint8_t { kCommit, kInterval, kNone };
std::string_view sync_name(SyncMode mode);
Result<SyncMode> sync_from_name(std::string_view name);

struct LogOptions {
  std::string directory;
  SyncMode sync = SyncMode::kCommit;
  std::uint64_t map_bytes = std::uint64_t{64} << 30;  // address space, not disk: the file grows as it is filled
};

// What a start finds: called once per row, in key order.
struct LogVisitor {
  std::function<void(PartitionId, const PartitionState&)> partition;
  std::function<void(const ProducerKey&, const ProducerState&)> producer;
  std::function<void(PartitionId, EpochTable)> epochs;
  std::function<void(RecordPlace, const ReturnState&)> returned;
  std::function<void(const QueuePlace&, Lsn below)> dropped;
  std::function<void(RecordPlace, const RecordHeader&)> record;  // the checksum is verified at delivery, not here
  std::function<void(RecordPlace, const std::string&)> damaged;  // a header that cannot be read; the record is kept
};

// Thread rule: commit and sync from one thread at a time (any); readers (log_reader.hpp) from their own thread.
// Rows (docs/disk-format.md), all in one tree: (partition, lsn, chunk) -> a record or its next part; partition
// states, delivery counts, producers, the store's version and identity.
class Log {
 public:
  // Errors: unavailable (in use, no permission), internal (not a dmq store, unknown version, damaged).
  static Result<std::unique_ptr<Log>> open(const LogOptions& options);
  ~Log();

  // Writes both in one transaction, `effects` first, on disk (sync = commit) when it returns.
  // Errors: insufficient_storage (map or disk full: nothing was written), internal (the disk fails: stop).
  Result<void> commit(const WriteBatch& effects, const WriteBatch& writes);
  Result<void> commit(const WriteBatch& writes) { return commit({}, writes); }

  // For kInterval: brings what was committed to the disk. Errors: internal.
  Result<void> sync();

  Result<void> visit(const LogVisitor& visitor) const;

  // A random identity, made with the store.
  const std::string& store_id() const { return store_id_; }

  MDB_env* env() const { return env_; }
  unsigned table() const { return table_; }

 private:
  explicit Log(DataDirectory directory);
  Result<void> open_environment(const LogOptions& options);
  Result<void> open_table();
  Result<void> check_version();
  std::jthread read_ahead() const;
  Result<void> commit_once(const WriteBatch& effects, const WriteBatch& writes);
  int write(MDB_txn* txn, const WriteBatch& batch);
  Result<void> raise_version();
  int write_truncations(MDB_txn* txn, const WriteBatch& batch);
  int delete_from(MDB_txn* txn, std::string_view first, std::size_t prefix_bytes);
  int write_records(MDB_txn* txn, const WriteBatch& batch);
  int write_removals(MDB_txn* txn, const WriteBatch& batch);
  int write_side(MDB_txn* txn, const WriteBatch& batch);

  DataDirectory directory_;
  DiskReserve reserve_;
  MDB_env* env_ = nullptr;
  unsigned table_ = 0;
  std::string store_id_;
  std::string scratch_;  // a record of several chunks is built here
};

}  // namespace dmq
