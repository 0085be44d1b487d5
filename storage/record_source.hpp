// Where the request core gets committed records from: the log, or a test's table.
#pragma once

#include <functional>

#include "protocol/error.hpp"
#include "storage/record.hpp"

namespace dmq {

class RecordSource {
 public:
  virtual ~RecordSource() = default;
  // The views are valid until the next call. Errors: internal (absent, damaged): this record is never to be delivered;
  // unavailable: the store itself cannot be read now, which says nothing about the record.
  virtual Result<RecordView> read(RecordPlace place) = 0;

  // Each record of a partition from `from` on, in order, until `visit` returns false: whole and with its checksum
  // verified, or what is wrong with it, and then the bytes mean nothing. They are valid within the call. Errors: the
  // store itself cannot be read.
  using Visit = std::function<bool(Lsn lsn, std::string_view bytes, const Result<RecordView>& record)>;
  virtual Result<void> scan(RecordPlace from, const Visit& visit) = 0;
};

}  // namespace dmq
