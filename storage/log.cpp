// Opening a log, its commits, and the start-up scan.
#include "storage/log.hpp"

#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <thread>

#include "runtime/logging.hpp"
#include "storage/log_rows.hpp"
#include "storage/side_rows.hpp"
#include "storage/store_check.hpp"

namespace dmq {
namespace {

constexpr std::uint64_t kReserveBytes = 4 << 20;      // of disk, for acks and epochs when it is full
constexpr std::uint64_t kCommitsBetweenChecks = 256;  // for readers that are gone

std::string random_identity() {
  std::random_device source;
  char text[33];
  for (int i = 0; i < 4; ++i) std::snprintf(text + 8 * i, 9, "%08x", source());
  return text;
}

// A transaction that ends with its scope: without an effect, unless commit() was called.
class Transaction {
 public:
  Transaction(MDB_env* env, unsigned flags) : code(mdb_txn_begin(env, nullptr, flags, &txn)) {}
  ~Transaction() {
    if (txn != nullptr) mdb_txn_abort(txn);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void put(std::string_view key, std::string_view value, MDB_dbi table) {
    MDB_val k = val(key);
    MDB_val v = val(value);
    if (code == 0) code = mdb_put(txn, table, &k, &v, 0);
  }
  int commit() { return code != 0 ? code : mdb_txn_commit(std::exchange(txn, nullptr)); }
  MDB_txn* txn = nullptr;
  int code;
};

void visit_record(const MDB_val& key, const MDB_val& value, const LogVisitor& visitor) {
  if (chunk_of(bytes_at(key)) != 0) return;
  const RecordPlace place = place_of(bytes_at(key));
  const auto header = read_record_header(text_of(value));
  header ? visitor.record(place, *header) : visitor.damaged(place, header.error().context);
}

// A page shows that it cannot be what LMDB wrote. The next start finds out what is left.
void end_by_damage(MDB_env*, const char* assertion) {
  spdlog::critical("the worker stops: a page of the store is damaged: {}", assertion);
  std::_Exit(1);
}

// A name for what is kept of a damaged store; it tells when, and no other has it.
std::string name_aside(const std::string& directory) {
  const std::time_t now = std::time(nullptr);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", std::gmtime(&now));
  std::string path = directory + "/damaged-" + stamp;
  for (int i = 2; std::filesystem::exists(path + ".mdb"); ++i) {
    path = directory + "/damaged-" + stamp + "-" + std::to_string(i);
  }
  return path + ".mdb";
}

// A walk over all pages touches each of them. With MDB_NORDAHEAD, right for serving, a cold disk gives them one at a
// time: 9.7 s for a million messages of 1 KiB, where this thread, reading the file from front to back, brings it to the
// disk's own pace.
std::jthread read_ahead(const std::string& path) {
  return std::jthread([path](const std::stop_token& stop) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    std::string buffer(1 << 20, '\0');
    ssize_t got = 1;
    for (off_t at = 0; got > 0 && !stop.stop_requested(); at += got) got = pread(fd, buffer.data(), buffer.size(), at);
    close(fd);
  });
}

}  // namespace

tl::unexpected<Error> log_failure(const std::string& what, int code, const std::string& directory) {
  if (code == EIO && disk_is_full(directory)) code = ENOSPC;  // LMDB's word for a short write
  const std::string context = what + " in " + directory + ": " + mdb_strerror(code);
  const bool full = code == MDB_MAP_FULL || code == MDB_TXN_FULL || code == ENOSPC || code == EDQUOT;
  return fail(full ? Errc::kInsufficientStorage : Errc::kInternal, context);
}

std::string_view sync_name(SyncMode mode) {
  return mode == SyncMode::kCommit ? "commit" : mode == SyncMode::kInterval ? "interval" : "none";
}

Result<SyncMode> sync_from_name(std::string_view name) {
  for (const SyncMode mode : {SyncMode::kCommit, SyncMode::kInterval, SyncMode::kNone}) {
    if (sync_name(mode) == name) return mode;
  }
  return fail(Errc::kInvalidArgument, "sync mode '" + std::string(name) + "' is not commit, interval or none");
}

// --- at start --------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Log>> Log::open(const LogOptions& options) {
  auto directory = DataDirectory::open(options.directory);
  if (!directory) return tl::unexpected<Error>(directory.error());
  std::unique_ptr<Log> log(new Log(std::move(*directory), options.sync));
  const auto opened = log->look_for_damage(options.on_damage)
                          .and_then([&] { return log->open_environment(options); })
                          .and_then([&] { return log->open_table(); })
                          .and_then([&] { return log->check_version(); })
                          .and_then([&] { return log->load_tallies(); });
  if (!opened) return tl::unexpected<Error>(opened.error());
  return log;
}

Log::Log(DataDirectory directory, SyncMode sync)
    : directory_(std::move(directory)),
      sync_(sync),
      reserve_(directory_.path(), kReserveBytes),
      mark_(directory_.path()) {}

Log::~Log() {
  if (env_ == nullptr) return;
  mdb_env_sync(env_, 1);
  mdb_env_close(env_);
}

Result<void> Log::look_for_damage(OnDamage on_damage) {
  const std::string& path = directory_.path();
  const std::string file = path + "/data.mdb";
  std::error_code absent;
  if (std::filesystem::file_size(file, absent) == 0 || absent) mark_.forget();
  if (on_damage == OnDamage::kAccept) return {};
  StoreVerdict verdict;
  {
    const std::jthread reader = read_ahead(file);
    verdict = check_store(path, mark_);
  }
  if (verdict.condition == StoreCondition::kSound) return {};
  if (verdict.condition == StoreCondition::kForeign) {
    return fail(Errc::kInternal, path + " holds no dmq store that can be read: " + verdict.what);
  }
  const bool old = verdict.condition == StoreCondition::kOld;
  if (on_damage == OnDamage::kRefuse) {
    return fail(Errc::kInternal, "the store in " + path + (old ? " is older than it was: " : " is damaged: ") +
                                     verdict.what + "; restore the directory from a backup, or start with " +
                                     "--accept-damage to serve what of it can be read");
  }
  if (!old) return set_aside(file, verdict.what);
  is_old_ = true;
  notice_ = "the store in " + path + " is older than it was: " + verdict.what +
            "; its copies are compared with those of other workers before they count";
  return {};
}

Result<void> Log::set_aside(const std::string& file, const std::string& what) {
  const std::string kept = name_aside(directory_.path());
  std::error_code fault;
  std::filesystem::rename(file, kept, fault);
  if (fault) return fail(Errc::kInternal, "cannot rename the damaged " + file + ": " + fault.message());
  mark_.forget();
  notice_ = "the store in " + directory_.path() + " is damaged: " + what + "; it is kept as " + kept +
            ", and this worker begins with an empty one, which other workers fill";
  return {};
}

Result<void> Log::open_environment(const LogOptions& options) {
  mdb_env_create(&env_);
  mdb_env_set_mapsize(env_, options.map_bytes);
  mdb_env_set_assert(env_, end_by_damage);
  const unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (options.sync == SyncMode::kCommit ? 0u : MDB_NOSYNC);
  if (const int code = mdb_env_open(env_, directory_.path().c_str(), flags, 0644); code != 0) {
    return log_failure("cannot open the store", code, directory_.path());
  }
  return {};
}

Result<void> Log::open_table() {
  MDB_txn* txn = nullptr;
  int code = mdb_txn_begin(env_, nullptr, 0, &txn);
  if (code != 0) return log_failure("cannot open the store", code, directory_.path());
  code = mdb_dbi_open(txn, nullptr, 0, &table_);
  if (code != 0) {
    mdb_txn_abort(txn);
    return log_failure("cannot open the table", code, directory_.path());
  }
  code = mdb_txn_commit(txn);
  if (code != 0) return log_failure("cannot create the table", code, directory_.path());
  return {};
}

Result<void> Log::check_version() {
  Transaction write(env_, 0);
  if (write.code != 0) return log_failure("cannot read the store's version", write.code, directory_.path());
  const std::string version_key = store_key("version");
  const std::string id_key = store_key("id");
  MDB_val key = val(version_key);
  MDB_val value{};
  if (mdb_get(write.txn, table_, &key, &value) == 0) {
    const std::uint32_t version = read_version(version_key, text_of(value));
    if (version == 0 || version > kStoreVersion) {
      return fail(Errc::kInternal, "the store in " + directory_.path() + " has format " + std::to_string(version) +
                                       "; this program reads formats 1 to " + std::to_string(kStoreVersion) + " only");
    }
    if (version < kStoreVersion) raise_version(write.txn, write.code);
    key = val(id_key);
    if (mdb_get(write.txn, table_, &key, &value) == 0) store_id_ = unseal(id_key, text_of(value)).value_or("");
    if (version == kStoreVersion) return {};
  } else {
    MDB_stat stat{};
    mdb_stat(write.txn, table_, &stat);
    if (stat.ms_entries != 0) {
      return fail(Errc::kInternal, directory_.path() + " holds an LMDB database that is no dmq store");
    }
    store_id_ = random_identity();
    write.put(version_key, sealed_version(version_key, kStoreVersion), table_);
    write.put(id_key, seal(id_key, store_id_), table_);
    if (write.code == 0) write.code = write_commit_number(write.txn);
  }
  if (const int code = write.commit(); code != 0) {
    return log_failure("cannot write the store's format", code, directory_.path());
  }
  return {};
}

// From now on side rows have checksums and partitions their tallies, which an older program would not keep.
void Log::raise_version(MDB_txn* txn, int& code) {
  std::vector<std::pair<std::string, std::string>> rows;
  std::map<PartitionId, Tally> tallies;
  code = each_row(txn, table_, {}, {}, [&](const MDB_val& key, const MDB_val& value) {
    if (is_log_key(bytes_at(key), key.mv_size)) {
      tallies[place_of(bytes_at(key)).partition].add(row_hash(key, value));
    } else {
      rows.emplace_back(text_of(key), resealed(text_of(key), text_of(value)));
    }
  });
  const std::string version_key = store_key("version");
  rows.emplace_back(version_key, sealed_version(version_key, kStoreVersion));
  const std::uint64_t commit = mdb_txn_id(txn);
  for (const auto& [partition, tally] : tallies) {
    const std::string key = tally_key(partition);
    rows.emplace_back(key, sealed_tally(key, tally, commit));
  }
  for (const auto& [name, row] : rows) {
    MDB_val key = val(name);
    MDB_val value = val(row);
    if (code == 0) code = mdb_put(txn, table_, &key, &value, 0);
  }
  if (code == 0) code = write_commit_number(txn);
}

Result<void> Log::load_tallies() {
  Transaction read(env_, MDB_RDONLY);
  const auto take = [this](const MDB_val& key, const MDB_val& value) {
    if (const auto tally = read_tally(text_of(key), text_of(value))) tallies_[partition_of(text_of(key))] = *tally;
  };
  const std::string first = partition_key({});
  if (read.code == 0) read.code = each_row(read.txn, table_, first, first.substr(0, 2), take);
  int fd = -1;
  if (read.code == 0 && mdb_env_get_fd(env_, &fd) == 0) mark_.observe(fd, mdb_txn_id(read.txn));
  if (read.code != 0) return log_failure("cannot read the store", read.code, directory_.path());
  return {};
}

Result<void> Log::visit(const LogVisitor& visitor) const {
  const std::jthread reader = read_ahead(directory_.path() + "/data.mdb");
  Transaction read(env_, MDB_RDONLY);
  std::map<PartitionId, Tally> counted;
  if (read.code == 0) {
    read.code = each_row(read.txn, table_, {}, {}, [&](const MDB_val& key, const MDB_val& value) {
      if (!is_log_key(bytes_at(key), key.mv_size)) return visit_side_row(text_of(key), text_of(value), visitor);
      counted[place_of(bytes_at(key)).partition].add(row_hash(key, value));
      visit_record(key, value, visitor);
    });
  }
  if (read.code != 0) return log_failure("cannot read the store", read.code, directory_.path());
  for (const auto& [partition, tally] : tallies_) counted.try_emplace(partition);
  for (const auto& [partition, tally] : counted) {
    const auto written = tallies_.find(partition);
    if (tally != (written == tallies_.end() ? Tally{} : written->second)) visitor.miscounted(partition);
  }
  return {};
}

// --- commits ---------------------------------------------------------------------------------------------------------

Result<void> Log::commit(const WriteBatch& effects, const WriteBatch& writes) {
  if (effects.empty() && writes.empty()) return {};
  auto outcome = commit_once(effects, writes);
  const bool full = !outcome && outcome.error().code == Errc::kInsufficientStorage;
  // What makes room, or is small and cannot be refused, has the reserve to be written with.
  const bool messages = std::any_of(writes.records.begin(), writes.records.end(), [](const PutRecord& put) {
    return put.record.header.type == RecordType::kMessage;
  });
  if (full && !messages && reserve_.release()) return commit_once(effects, writes);
  if (outcome && !(effects.removals.empty() && writes.removals.empty())) reserve_.restore();
  return outcome;
}

Result<void> Log::commit_once(const WriteBatch& effects, const WriteBatch& writes) {
  Transaction write(env_, 0);
  if (write.code != 0) return log_failure("cannot begin a transaction", write.code, directory_.path());
  const std::uint64_t number = mdb_txn_id(write.txn);
  // A process that was killed while it read the store, as a backup is, would keep its pages from being used again.
  if (number % kCommitsBetweenChecks == 0) mdb_reader_check(env_, nullptr);
  int fd = -1;
  mdb_env_get_fd(env_, &fd);
  if (!mark_.holds(fd)) {  // LMDB reads it each time
    return fail(Errc::kInternal, "the meta page of the store in " + directory_.path() + " is damaged");
  }
  changed_tallies_.clear();
  write.code = this->write(write.txn, effects, writes);
  if (write.code != 0) return log_failure("cannot write", write.code, directory_.path());
  if (const int code = write.commit(); code != 0) return log_failure("cannot commit", code, directory_.path());
  for (const auto& [partition, tally] : changed_tallies_) tallies_[partition] = tally;
  mark_.observe(fd, number);
  if (sync_ == SyncMode::kCommit) mark_.write();
  return {};
}

Result<void> Log::sync() {
  if (const int code = mdb_env_sync(env_, 1); code != 0) return log_failure("cannot sync", code, directory_.path());
  return {};
}

}  // namespace dmq
