// The catalog on disk: one LMDB environment in one directory, used by one process at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "metad/catalog_image.hpp"

namespace dmq {

inline constexpr std::uint64_t kCatalogFormat = 2;
inline constexpr std::size_t kCatalogMapBytes = std::size_t{8} << 30;  // address space, not memory or disk

// Owned by one loop; not thread-safe. Files: data.mdb and lock.mdb are LMDB's, dmq.lock keeps others out.
//
// One unnamed database; integers in keys and values are 8 bytes, big-endian:
//   "m" name       a counter: format, generation, version, partitions, last_queue, last_session
//   "q" queue id   an update (protocol/catalog.hpp) with one change: the queue, or that it was deleted
//   "p" partition  the same with the partition
//   "w" name       the same with the worker
//   "c"            the same with the cluster
// Each value begins with 8 bytes of xxh3 of the rest, seeded with that of the key: LMDB has no checksums of its own.
// A catalog of format 1 (one replica of a partition, no cluster) is rewritten when it is opened.
class CatalogStore {
 public:
  // At first makes the directory and a catalog that is `first`, which has a cluster; later `first` is ignored. Empty:
  // only opens a catalog of the current format.
  // Errors, each a sentence for the operator: unavailable (in use by another process), unsupported (written in a
  // format that this program does not know), internal (cannot be read, or damaged).
  static Result<std::unique_ptr<CatalogStore>> open(const std::string& directory,
                                                    const std::optional<CatalogImage>& first,
                                                    std::size_t map_bytes = kCatalogMapBytes);
  // The catalog that a metad of another process may be using, as its last commit left it. Errors: invalid_argument
  // (there is none), unavailable (no permission), unsupported (another format), internal (damaged).
  static Result<CatalogImage> look(const std::string& directory);
  ~CatalogStore();
  CatalogStore(const CatalogStore&) = delete;
  CatalogStore& operator=(const CatalogStore&) = delete;

  // Errors: internal, when a record is damaged.
  Result<CatalogImage> load() const;

  // Writes all of it or nothing, in one synced transaction. Errors: insufficient_storage (the disk or the map is full;
  // later calls may succeed), internal (the store must not be used on).
  Result<void> commit(const CatalogCounters& counters, const std::vector<CatalogChange>& changes);

 private:
  struct Lmdb;
  explicit CatalogStore(std::unique_ptr<Lmdb> lmdb);
  Result<void> upgrade(const CatalogImage& first);
  Result<void> commit_once(const CatalogCounters& counters, const std::vector<CatalogChange>& changes);

  std::unique_ptr<Lmdb> lmdb_;
};

}  // namespace dmq
