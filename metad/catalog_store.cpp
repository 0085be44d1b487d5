// Records, checksums and transactions of the catalog in LMDB.
#include "metad/catalog_store.hpp"

#include <lmdb.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string_view>
#include <utility>

#include "metad/catalog_upgrade.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/partitioner.hpp"
#include "runtime/data_directory.hpp"
#include "runtime/disk_reserve.hpp"

namespace dmq {
namespace {

constexpr std::size_t kChecksumBytes = 8;
constexpr std::uint64_t kReserveBytes = 256 << 10;  // of disk, for sessions and leaders when it is full

using CounterField = std::pair<const char*, std::uint64_t>;

std::string big_endian(std::uint64_t value) {
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(value >> (56 - 8 * i));
  return out;
}

// REQUIRES: 8 bytes.
std::uint64_t from_big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::string checksum(std::string_view key, std::string_view content) {
  return big_endian(stable_hash(content, stable_hash(key)));
}

std::string key_of(const CatalogChange& change) {
  if (const auto* queue = std::get_if<QueueInfo>(&change)) return "q" + big_endian(queue->id.value);
  if (const auto* deleted = std::get_if<QueueDeleted>(&change)) return "q" + big_endian(deleted->id.value);
  if (const auto* partition = std::get_if<PartitionInfo>(&change)) return "p" + big_endian(partition->id.value);
  if (const auto* worker = std::get_if<WorkerInfo>(&change)) return "w" + worker->name;
  if (const auto* forgotten = std::get_if<WorkerForgotten>(&change)) return "w" + forgotten->name;
  return "c";
}

std::array<CounterField, 6> counter_fields(const CatalogCounters& counters) {
  return {{{"mformat", kCatalogFormat},
           {"mgeneration", counters.generation},
           {"mversion", counters.version.value},
           {"mpartitions", counters.partitions},
           {"mlast_queue", counters.last_queue.value},
           {"mlast_session", counters.last_session.value}}};
}

Error lmdb_error(int code, std::string_view what) {
  const std::string context = std::string(what) + ": " + mdb_strerror(code);
  const bool full = code == MDB_MAP_FULL || code == ENOSPC || code == EDQUOT;
  return full ? Error{Errc::kInsufficientStorage, context + "; free some space for metad's data directory"}
              : Error{Errc::kInternal, context};
}

Error damaged(const std::string& record) {
  return {Errc::kInternal, "the catalog is damaged: the record of " + record +
                               " does not have its checksum; restore the data directory from a backup"};
}

std::string_view view(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }
MDB_val as_value(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }

}  // namespace

// The environment, its one database, and the lock on the directory.
struct CatalogStore::Lmdb {
  explicit Lmdb(DataDirectory locked) : directory(std::move(locked)), reserve(directory.path(), kReserveBytes) {}
  ~Lmdb() {
    if (env != nullptr) mdb_env_close(env);
  }
  Result<void> open(std::size_t map_bytes);

  DataDirectory directory;
  DiskReserve reserve;
  MDB_env* env = nullptr;
  MDB_dbi dbi = 0;
};

namespace {

// A transaction that is aborted unless committed.
class Transaction {
 public:
  int begin(MDB_env* env, unsigned flags) { return mdb_txn_begin(env, nullptr, flags, &txn_); }
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  int commit() { return mdb_txn_commit(std::exchange(txn_, nullptr)); }
  MDB_txn* get() const { return txn_; }

  int put(MDB_dbi dbi, std::string_view key, std::string_view content) {
    const std::string stored = checksum(key, content) + std::string(content);
    MDB_val name = as_value(key);
    MDB_val value = as_value(stored);
    return mdb_put(txn_, dbi, &name, &value, 0);
  }
  int remove(MDB_dbi dbi, std::string_view key) {
    MDB_val name = as_value(key);
    const int code = mdb_del(txn_, dbi, &name, nullptr);
    return code == MDB_NOTFOUND ? 0 : code;
  }

 private:
  MDB_txn* txn_ = nullptr;
};

// The content behind a good checksum; empty, which no content is, when it is bad.
std::string_view checked_content(std::string_view key, std::string_view stored) {
  if (stored.size() <= kChecksumBytes) return {};
  const std::string_view content = stored.substr(kChecksumBytes);
  return checksum(key, content) == stored.substr(0, kChecksumBytes) ? content : std::string_view{};
}

// A counter's value, 0 when it is absent.
Result<std::uint64_t> read_counter(MDB_txn* txn, MDB_dbi dbi, const char* key) {
  MDB_val name = as_value(key);
  MDB_val value;
  const int code = mdb_get(txn, dbi, &name, &value);
  if (code == MDB_NOTFOUND) return std::uint64_t{0};
  if (code != 0) return tl::unexpected<Error>(lmdb_error(code, "cannot read the catalog"));
  const std::string_view content = checked_content(key, view(value));
  if (content.size() != 8) return tl::unexpected<Error>(damaged("counter '" + std::string(key + 1) + "'"));
  return from_big_endian(content);
}

Result<CatalogCounters> read_counters(MDB_txn* txn, MDB_dbi dbi) {
  std::array<std::uint64_t, 6> values{};
  const auto fields = counter_fields({});
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto value = read_counter(txn, dbi, fields[i].first);
    if (!value) return tl::unexpected<Error>(value.error());
    values[i] = *value;
  }
  if (values[3] > kPartitionsMax) return tl::unexpected<Error>(damaged("the partition count"));
  return CatalogCounters{values[1], {values[2]}, static_cast<std::uint16_t>(values[3]), {values[4]}, {values[5]}};
}

std::string_view kind_of(char key) {
  switch (key) {
    case 'q':
      return "a queue";
    case 'p':
      return "a partition";
    case 'w':
      return "a worker";
    default:
      return "the cluster";
  }
}

// One record as the change that made it.
Result<CatalogChange> read_record(std::string_view key, std::string_view stored, MsgpackReader& reader) {
  const std::string_view content = checked_content(key, stored);
  const std::string name(kind_of(key[0]));
  if (content.empty()) return tl::unexpected<Error>(damaged(name));
  auto update = decode_update(content, reader);
  if (!update || update->changes.size() != 1 || key_of(update->changes.front()) != key) {
    return tl::unexpected<Error>(damaged(name));
  }
  return std::move(update->changes.front());
}

Result<CatalogImage> read_image(MDB_txn* txn, MDB_dbi dbi) {
  auto counters = read_counters(txn, dbi);
  if (!counters) return tl::unexpected<Error>(counters.error());
  CatalogImage image{*counters, {}};
  MDB_cursor* cursor = nullptr;
  int code = mdb_cursor_open(txn, dbi, &cursor);
  if (code != 0) return tl::unexpected<Error>(lmdb_error(code, "cannot read the catalog"));
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> closer(cursor, &mdb_cursor_close);
  MsgpackReader reader;
  MDB_val key;
  MDB_val value;
  while ((code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    if (view(key).starts_with('m')) continue;
    auto record = read_record(view(key), view(value), reader);
    if (!record) return tl::unexpected<Error>(record.error());
    image.records.push_back(std::move(*record));
  }
  if (code != MDB_NOTFOUND) return tl::unexpected<Error>(lmdb_error(code, "cannot read the catalog"));
  return image;
}

}  // namespace

Result<void> CatalogStore::Lmdb::open(std::size_t map_bytes) {
  int code = mdb_env_create(&env);
  if (code == 0) code = mdb_env_set_mapsize(env, map_bytes);
  if (code == 0) code = mdb_env_open(env, directory.path().c_str(), MDB_NOTLS | MDB_NORDAHEAD, 0600);
  Transaction transaction;
  if (code == 0) code = transaction.begin(env, 0);
  if (code == 0) code = mdb_dbi_open(transaction.get(), nullptr, 0, &dbi);
  if (code == 0) code = transaction.commit();
  if (code != 0) return tl::unexpected<Error>(lmdb_error(code, "cannot open the catalog in " + directory.path()));
  return {};
}

CatalogStore::CatalogStore(std::unique_ptr<Lmdb> lmdb) : lmdb_(std::move(lmdb)) {}
CatalogStore::~CatalogStore() = default;

Result<std::unique_ptr<CatalogStore>> CatalogStore::open(const std::string& directory,
                                                         const std::optional<CatalogImage>& first,
                                                         std::size_t map_bytes) {
  auto locked = DataDirectory::open(directory);
  if (!locked) return tl::unexpected<Error>(locked.error());
  auto lmdb = std::make_unique<Lmdb>(std::move(*locked));
  if (auto opened = lmdb->open(map_bytes); !opened) return tl::unexpected<Error>(opened.error());
  Result<std::uint64_t> format{0};
  {
    Transaction transaction;
    if (const int code = transaction.begin(lmdb->env, MDB_RDONLY); code != 0) {
      return tl::unexpected<Error>(lmdb_error(code, "cannot read the catalog in " + directory));
    }
    format = read_counter(transaction.get(), lmdb->dbi, "mformat");
  }
  if (!format) return tl::unexpected<Error>(format.error());
  if (*format > kCatalogFormat) {
    return fail(Errc::kUnsupported, "the catalog in " + directory + " has format " + std::to_string(*format) +
                                        "; this program knows formats up to " + std::to_string(kCatalogFormat));
  }
  std::unique_ptr<CatalogStore> store(new CatalogStore(std::move(lmdb)));
  Result<void> ready;
  if (*format != kCatalogFormat && !first) {
    ready = fail(Errc::kUnsupported, "the catalog in " + directory + " is new or old; start dmq-metad on it once");
  } else if (*format == 0) {
    ready = store->commit(first->counters, first->records);
  } else if (*format == 1) {
    ready = store->upgrade(*first);
  }
  if (!ready) return tl::unexpected<Error>(ready.error());
  return store;
}

// Format 1 to 2, all of it or nothing.
Result<void> CatalogStore::upgrade(const CatalogImage& first) {
  auto image = load();
  if (!image) return tl::unexpected<Error>(image.error());
  for (const CatalogChange& record : first.records) {
    if (const auto* cluster = std::get_if<ClusterInfo>(&record)) upgrade_to_2(*image, cluster->id);
  }
  return commit(image->counters, image->records);
}

Result<CatalogImage> CatalogStore::load() const {
  Transaction transaction;
  if (const int code = transaction.begin(lmdb_->env, MDB_RDONLY); code != 0) {
    return tl::unexpected<Error>(lmdb_error(code, "cannot read the catalog"));
  }
  return read_image(transaction.get(), lmdb_->dbi);
}

Result<CatalogImage> CatalogStore::look(const std::string& directory) {
  std::error_code fault;
  if (!std::filesystem::exists(directory + "/data.mdb", fault)) {
    return fail(fault ? Errc::kUnavailable : Errc::kInvalidArgument,
                "there is no catalog in " + directory + (fault ? ": " + fault.message() : std::string()));
  }
  MDB_env* env = nullptr;
  int code = mdb_env_create(&env);
  const std::unique_ptr<MDB_env, decltype(&mdb_env_close)> closer(env, &mdb_env_close);
  if (code == 0) code = mdb_env_open(env, directory.c_str(), MDB_NOTLS | MDB_RDONLY, 0600);
  Transaction transaction;
  MDB_dbi dbi = 0;
  if (code == 0) code = transaction.begin(env, MDB_RDONLY);
  if (code == 0) code = mdb_dbi_open(transaction.get(), nullptr, 0, &dbi);
  if (code != 0) {
    return fail(Errc::kUnavailable, "cannot open the catalog in " + directory + ": " + mdb_strerror(code));
  }
  const auto format = read_counter(transaction.get(), dbi, "mformat");
  if (!format) return tl::unexpected<Error>(format.error());
  if (*format == 0) return fail(Errc::kInvalidArgument, directory + " holds no catalog of dmq");
  if (*format != kCatalogFormat) {
    return fail(Errc::kUnsupported, "the catalog in " + directory + " has format " + std::to_string(*format) +
                                        "; this program reads format " + std::to_string(kCatalogFormat));
  }
  return read_image(transaction.get(), dbi);
}

Result<void> CatalogStore::commit(const CatalogCounters& counters, const std::vector<CatalogChange>& changes) {
  auto outcome = commit_once(counters, changes);
  const bool full = !outcome && outcome.error().code == Errc::kInsufficientStorage;
  const bool grows = std::any_of(changes.begin(), changes.end(),
                                 [](const CatalogChange& change) { return std::holds_alternative<QueueInfo>(change); });
  // Without sessions and leaders nobody could empty the disk, so these have the reserve to be written with.
  if (full && !grows && lmdb_->reserve.release()) return commit_once(counters, changes);
  if (outcome) lmdb_->reserve.restore();
  return outcome;
}

Result<void> CatalogStore::commit_once(const CatalogCounters& counters, const std::vector<CatalogChange>& changes) {
  Transaction transaction;
  int code = transaction.begin(lmdb_->env, 0);
  for (const auto& [key, value] : counter_fields(counters)) {
    if (code == 0) code = transaction.put(lmdb_->dbi, key, big_endian(value));
  }
  for (const CatalogChange& change : changes) {
    if (code != 0) break;
    if (std::holds_alternative<WorkerForgotten>(change)) {
      code = transaction.remove(lmdb_->dbi, key_of(change));
      continue;
    }
    code = transaction.put(lmdb_->dbi, key_of(change),
                           encode_update({counters.generation, counters.version, counters.version, {change}}));
  }
  if (code == 0) code = transaction.commit();
  if (code == EIO && disk_is_full(lmdb_->directory.path())) code = ENOSPC;  // LMDB's word for a short write
  if (code != 0) return tl::unexpected<Error>(lmdb_error(code, "cannot write the catalog"));
  return {};
}

}  // namespace dmq
