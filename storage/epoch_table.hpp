// Which terms a log has records of, and where each begins: what two replicas compare to find where they part.
#pragma once

#include <vector>

#include "protocol/replication.hpp"

namespace dmq {

// LIMIT: it grows by an entry with each term that has records; none is ever forgotten.
// Terms and places grow. A term without records has no entry; the newest may, until records come or the next term.
// Not thread-safe.
class EpochTable {
 public:
  EpochTable() = default;
  explicit EpochTable(std::vector<EpochStart> starts) : starts_(std::move(starts)) {}

  // A term begins at `first`. REQUIRES: neither is lower than those before. Already there: nothing happens.
  void add(Epoch epoch, Lsn first);
  // Forgets what begins at `end` or behind.
  void cut(Lsn end);
  Epoch last() const { return starts_.empty() ? Epoch{} : starts_.back().epoch; }
  // Of the record at `lsn`; 0 when there is none.
  Epoch at(Lsn lsn) const;
  // The newest term that is not above `epoch`, and the end of its records in a log that ends at `log_end`. Term 0 ends
  // where the first one begins.
  struct End {
    Epoch epoch;
    Lsn end;
  };
  End end_of(Epoch epoch, Lsn log_end) const;

  const std::vector<EpochStart>& starts() const { return starts_; }
  bool operator==(const EpochTable&) const = default;

 private:
  std::vector<EpochStart> starts_;
};

}  // namespace dmq
