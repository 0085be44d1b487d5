// Where the request core gets committed records from: the log, or a test's table.
#pragma once

#include "protocol/error.hpp"
#include "storage/record.hpp"

namespace dmq {

class RecordSource {
 public:
  virtual ~RecordSource() = default;
  // The views are valid until the next call. Errors: internal (absent, damaged): this record is never to be delivered;
  // unavailable: the store itself cannot be read now, which says nothing about the record.
  virtual Result<RecordView> read(RecordPlace place) = 0;
};

}  // namespace dmq
