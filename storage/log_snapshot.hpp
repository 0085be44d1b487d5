// A store as it is at one moment, while a worker goes on with it; and a copy of that.
#pragma once

#include <memory>
#include <string>

#include "protocol/error.hpp"

struct MDB_env;
struct MDB_txn;

namespace dmq {

struct LogCopied {
  std::uint64_t records = 0;  // those of control too
  std::uint64_t bytes = 0;    // of all rows
};

// For another process than the worker's: LMDB lets two processes use a store, but not one process twice. Not
// thread-safe, and all of it in one thread. While it lives LMDB gives no page of the moment to anything new, so the
// worker's file grows by what is written meanwhile.
class LogSnapshot {
 public:
  // Waits for the commit under way. From then on the worker commits nothing before release(), so that several stores
  // can be seen at the same moment.
  // Errors: invalid_argument (there is no store), unsupported (of another format), unavailable (no permission).
  static Result<std::unique_ptr<LogSnapshot>> take(const std::string& directory);
  ~LogSnapshot();
  LogSnapshot(const LogSnapshot&) = delete;
  LogSnapshot& operator=(const LogSnapshot&) = delete;

  void release();
  // Writes a whole store of the same identity into an empty directory, without free pages; not brought to the disk.
  // Errors: insufficient_storage, internal (the store is damaged, or the disk fails); a part of it is there then.
  Result<LogCopied> copy_to(const std::string& directory) const;

 private:
  explicit LogSnapshot(std::string directory) : directory_(std::move(directory)) {}
  Result<void> open();
  Result<void> check_version() const;

  std::string directory_;
  MDB_env* env_ = nullptr;
  unsigned table_ = 0;
  MDB_txn* hold_ = nullptr;  // a transaction that writes nothing and lets nobody else write
  MDB_txn* read_ = nullptr;
};

}  // namespace dmq
