// Reads records of the log as of its last commit, checksums verified.
#pragma once

#include <string>

#include "protocol/error.hpp"
#include "storage/read_ahead.hpp"
#include "storage/record_source.hpp"

struct MDB_cursor;
struct MDB_txn;

namespace dmq {

class Log;

// Belongs to one thread, which need not be the committing one. A read transaction is open only between refresh()
// and release(): an open one keeps LMDB from reusing pages, and the file grows (5 to 279 MB where it was tried).
class LogReader {
 public:
  explicit LogReader(Log& log);
  ~LogReader();
  LogReader(const LogReader&) = delete;
  LogReader& operator=(const LogReader&) = delete;

  // Sees what was committed until now. Errors: internal.
  Result<void> refresh();
  void release();

  // REQUIRES: refresh() since the last release(). The views are valid until the next call.
  // Errors: internal (absent, damaged): the message must not be delivered; unavailable: the store cannot be read.
  Result<RecordView> read(RecordPlace place);
  // As RecordSource::scan(). Errors: unavailable.
  Result<void> scan(RecordPlace from, const RecordSource::Visit& visit);

 private:
  // The whole record whose first part is `first`; leaves the cursor on its last part when all are there.
  Result<std::string_view> assemble(RecordPlace place, std::string_view first);

  void touch(std::string_view row);

  Log& log_;
  ReadAhead ahead_;
  MDB_txn* txn_ = nullptr;
  MDB_cursor* cursor_ = nullptr;
  bool open_ = false;
  std::string assembled_;  // a record of several chunks
};

}  // namespace dmq
