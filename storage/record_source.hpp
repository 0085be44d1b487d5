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

  // Each record of a partition from `from` on, in order, whole and with its checksum verified, until `visit` returns
  // false. The bytes are valid within the call. Errors: as above; the place of a damaged record is in the context.
  using Visit = std::function<bool(Lsn lsn, std::string_view bytes, const RecordView& record)>;
  virtual Result<void> scan(RecordPlace from, const Visit& visit) = 0;
};

}  // namespace dmq
