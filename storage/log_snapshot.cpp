// Two transactions on somebody else's store, and rows that are written in their order into a new one.
#include "storage/log_snapshot.hpp"

#include <lmdb.h>

#include <filesystem>
#include <map>
#include <utility>

#include "storage/log_rows.hpp"
#include "storage/side_rows.hpp"

namespace dmq {
namespace {

constexpr std::uint64_t kBatchBytes = 16 << 20;  // of a transaction: what it changes is in memory

// The store that is being made. Rows come in the order of their keys. Its first fault stays.
class Copy {
 public:
  Copy(const std::string& directory, std::size_t map_bytes) {
    mdb_env_create(&env_);
    mdb_env_set_mapsize(env_, map_bytes);
    // Nobody else sees it before it is whole and on the disk.
    code_ = mdb_env_open(env_, directory.c_str(), MDB_NOTLS | MDB_NOSYNC | MDB_NOLOCK, 0600);
    begin();
  }
  ~Copy() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
    if (txn_ != nullptr) mdb_txn_abort(txn_);
    mdb_env_close(env_);
  }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;

  int code() const { return code_; }
  void append(MDB_val key, MDB_val value) {
    if (code_ == 0) code_ = mdb_cursor_put(cursor_, &key, &value, MDB_APPEND);
    bytes_ += key.mv_size + value.mv_size;
    if (bytes_ < kBatchBytes) return;
    commit();
    begin();
  }
  // A start wants to find the number of the last commit in the rows, and numbers begin anew here.
  void finish(const std::map<std::string, Tally>& tallies) {
    commit();
    begin();
    if (code_ != 0) return;
    const std::uint64_t number = mdb_txn_id(txn_);
    for (const auto& [key, tally] : tallies) replace(key, sealed_tally(key, tally, number));
    const std::string key = store_key("commit");
    replace(key, sealed_commit(key, number));
    commit();
  }

 private:
  void begin() {
    if (code_ == 0) code_ = mdb_txn_begin(env_, nullptr, 0, &txn_);
    if (code_ == 0) code_ = mdb_dbi_open(txn_, nullptr, 0, &table_);
    if (code_ == 0) code_ = mdb_cursor_open(txn_, table_, &cursor_);
  }
  void commit() {
    if (cursor_ != nullptr) mdb_cursor_close(std::exchange(cursor_, nullptr));
    bytes_ = 0;
    if (code_ == 0) code_ = mdb_txn_commit(std::exchange(txn_, nullptr));
  }
  void replace(std::string_view name, std::string_view row) {
    MDB_val key = val(name);
    MDB_val value = val(row);
    if (code_ == 0) code_ = mdb_put(txn_, table_, &key, &value, 0);
  }

  MDB_env* env_ = nullptr;
  MDB_txn* txn_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  MDB_dbi table_ = 0;
  std::uint64_t bytes_ = 0;  // in this transaction
  int code_ = 0;
};

std::string moved_text(const std::string& directory, PartitionId partition) {
  return "the store in " + directory + " is damaged: the records of partition " + std::to_string(partition.value) +
         " are not those that were written";
}

}  // namespace

Result<std::unique_ptr<LogSnapshot>> LogSnapshot::take(const std::string& directory) {
  std::error_code fault;
  if (!std::filesystem::exists(directory + "/data.mdb", fault)) {
    return fail(fault ? Errc::kUnavailable : Errc::kInvalidArgument,
                "there is no store in " + directory + (fault ? ": " + fault.message() : std::string()));
  }
  std::unique_ptr<LogSnapshot> snapshot(new LogSnapshot(directory));
  const auto opened = snapshot->open().and_then([&] { return snapshot->check_version(); });
  if (!opened) return tl::unexpected<Error>(opened.error());
  return snapshot;
}

LogSnapshot::~LogSnapshot() {
  if (read_ != nullptr) mdb_txn_abort(read_);
  release();
  if (env_ != nullptr) mdb_env_close(env_);
}

Result<void> LogSnapshot::open() {
  mdb_env_create(&env_);
  // Not read-only, as only who may write can keep others from it. Nothing is written.
  int code = mdb_env_open(env_, directory_.c_str(), MDB_NOTLS, 0600);
  if (code == 0) code = mdb_txn_begin(env_, nullptr, 0, &hold_);
  if (code == 0) code = mdb_dbi_open(hold_, nullptr, 0, &table_);
  if (code == 0) code = mdb_txn_begin(env_, nullptr, MDB_RDONLY, &read_);
  if (code == 0) return {};
  return fail(Errc::kUnavailable, "cannot open the store in " + directory_ + ": " + mdb_strerror(code));
}

void LogSnapshot::release() {
  if (hold_ != nullptr) mdb_txn_abort(std::exchange(hold_, nullptr));
}

Result<void> LogSnapshot::check_version() const {
  const std::string name = store_key("version");
  MDB_val key = val(name);
  MDB_val value{};
  const bool found = mdb_get(read_, table_, &key, &value) == 0;
  const std::uint32_t version = found ? read_version(name, text_of(value)) : 0;
  if (version == kStoreVersion) return {};
  if (version == 0) return fail(Errc::kInvalidArgument, directory_ + " holds no store of dmq");
  return fail(Errc::kUnsupported, "the store in " + directory_ + " has format " + std::to_string(version) +
                                      ", and backups are made of format " + std::to_string(kStoreVersion) +
                                      "; a broker of this version that starts on it raises it");
}

Result<LogCopied> LogSnapshot::copy_to(const std::string& directory) const {
  MDB_envinfo info{};
  mdb_env_info(env_, &info);
  Copy copy(directory, info.me_mapsize);
  LogCopied copied;
  std::map<std::string, Tally> tallies;  // by their keys, as they were written
  std::map<PartitionId, Tally> counted;
  std::string bad_row;
  const int read = each_row(read_, table_, {}, {}, [&](const MDB_val& key, const MDB_val& value) {
    copied.bytes += key.mv_size + value.mv_size;
    if (is_log_key(bytes_at(key), key.mv_size)) {
      counted[place_of(bytes_at(key)).partition].add(row_hash(key, value));
      copied.records += chunk_of(bytes_at(key)) == 0 ? 1 : 0;
    } else if (!unseal(text_of(key), text_of(value))) {
      bad_row = "a row that says what the records mean does not match its checksum";
    } else if (const auto tally = read_tally(text_of(key), text_of(value))) {
      tallies.emplace(text_of(key), *tally);
    }
    copy.append(key, value);
  });
  if (read != 0) return log_failure("cannot read the store", read, directory_);
  if (!bad_row.empty()) return fail(Errc::kInternal, "the store in " + directory_ + " is damaged: " + bad_row);
  for (const auto& [key, tally] : tallies) {
    if (counted[partition_of(key)] != tally) return fail(Errc::kInternal, moved_text(directory_, partition_of(key)));
    counted.erase(partition_of(key));
  }
  for (const auto& [partition, tally] : counted) return fail(Errc::kInternal, moved_text(directory_, partition));
  copy.finish(tallies);
  if (copy.code() != 0) return log_failure("cannot write the copy", copy.code(), directory);
  return copied;
}

}  // namespace dmq
