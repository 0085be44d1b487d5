// The log of one worker in LMDB: records of all its partitions, and the small tables that change with them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "protocol/error.hpp"
#include "runtime/data_directory.hpp"
#include "runtime/disk_reserve.hpp"
#include "storage/commit_mark.hpp"
#include "storage/tally.hpp"
#include "storage/write_batch.hpp"

struct MDB_cursor;
struct MDB_env;
struct MDB_txn;
struct MDB_val;

namespace dmq {

// When a commit reaches the disk itself. Only kCommit keeps all that was confirmed through a loss of power.
enum class SyncMode : std::uint8_t { kCommit, kInterval, kNone };
std::string_view sync_name(SyncMode mode);
Result<SyncMode> sync_from_name(std::string_view name);

// What is done with a store whose pages or side rows are damaged, or that is not the newest.
enum class OnDamage : std::uint8_t {
  kRefuse,    // an error; nothing is changed
  kSetAside,  // a damaged one is kept under another name and an empty one begun; an older one is opened, and is_old()
  kAccept,    // it is opened as it is
};

struct LogOptions {
  std::string directory;
  SyncMode sync = SyncMode::kCommit;
  std::uint64_t map_bytes = std::uint64_t{64} << 30;  // address space, not disk: the file grows as it is filled
  OnDamage on_damage = OnDamage::kRefuse;
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
  std::function<void(PartitionId)> miscounted;  // at the end: its records are not those that were written
};

// Thread rule: commit and sync from one thread at a time (any); readers (log_reader.hpp) from their own thread.
// Rows (docs/disk-format.md), all in one tree: (partition, lsn, chunk) -> a record or its next part; partition
// states, delivery counts, producers, the store's version and identity.
//
// I1  The tally of a partition is that of its rows in the log, in each transaction.
// I2  Each transaction writes its number into a tally or, when it changes none, into a row of its own, so that an older
//     meta page whose number was damaged does not pass for the newest.
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
  // It may lack what was committed in it once.
  bool is_old() const { return is_old_; }
  // What was found wrong at the start and done about it, for the operator; empty: nothing.
  const std::string& notice() const { return notice_; }

  MDB_env* env() const { return env_; }
  unsigned table() const { return table_; }

 private:
  Log(DataDirectory directory, SyncMode sync);
  Result<void> look_for_damage(OnDamage on_damage);
  Result<void> set_aside(const std::string& file, const std::string& what);
  Result<void> open_environment(const LogOptions& options);
  Result<void> open_table();
  Result<void> check_version();
  void raise_version(MDB_txn* txn, int& code);
  Result<void> load_tallies();
  Result<void> commit_once(const WriteBatch& effects, const WriteBatch& writes);

  // log_write.cpp. They return LMDB's code.
  int write(MDB_txn* txn, const WriteBatch& effects, const WriteBatch& writes);
  int write_truncations(MDB_txn* txn, const WriteBatch& batch);
  int delete_from(MDB_txn* txn, std::string_view first, std::size_t prefix_bytes);
  int write_records(MDB_txn* txn, const WriteBatch& batch);
  int put_record(MDB_cursor* cursor, const PutRecord& record, unsigned flags);
  int write_removals(MDB_txn* txn, const WriteBatch& batch);
  int write_side(MDB_txn* txn, const WriteBatch& batch);
  Tally& tally(const MDB_val& key);  // in this transaction
  int recount(MDB_txn* txn, PartitionId partition);
  int write_tallies(MDB_txn* txn);
  int write_commit_number(MDB_txn* txn);

  DataDirectory directory_;
  const SyncMode sync_;
  DiskReserve reserve_;
  MDB_env* env_ = nullptr;
  unsigned table_ = 0;
  std::string store_id_;
  CommitMark mark_;
  bool is_old_ = false;
  std::string notice_;
  std::map<PartitionId, Tally> tallies_;
  std::map<PartitionId, Tally> changed_tallies_;  // by the transaction under way
  std::string scratch_;                           // a record of several chunks is built here
};

}  // namespace dmq
