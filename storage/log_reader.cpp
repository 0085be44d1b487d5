// One read transaction, renewed and reset, with one cursor.
#include "storage/log_reader.hpp"

#include <lmdb.h>

#include "storage/log.hpp"
#include "storage/log_keys.hpp"

namespace dmq {
namespace {

std::string_view text_of(const MDB_val& value) { return {static_cast<const char*>(value.mv_data), value.mv_size}; }

tl::unexpected<Error> damaged(RecordPlace place, const std::string& what) {
  return fail(Errc::kInternal, "message " + message_id_text(place.partition, place.lsn) + ": " + what);
}

}  // namespace

LogReader::LogReader(Log& log) : log_(log) {}

LogReader::~LogReader() {
  if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

Result<void> LogReader::refresh() {
  if (open_) release();
  int code = txn_ == nullptr ? mdb_txn_begin(log_.env(), nullptr, MDB_RDONLY, &txn_) : mdb_txn_renew(txn_);
  if (code == 0) {
    code = cursor_ == nullptr ? mdb_cursor_open(txn_, log_.table(), &cursor_) : mdb_cursor_renew(txn_, cursor_);
  }
  if (code != 0) return fail(Errc::kInternal, std::string("cannot read the store: ") + mdb_strerror(code));
  open_ = true;
  return {};
}

void LogReader::release() {
  if (!open_) return;
  mdb_txn_reset(txn_);
  open_ = false;
}

Result<RecordView> LogReader::read(RecordPlace place) {
  const LogKey first = log_key(place, 0);
  MDB_val key{first.size(), const_cast<unsigned char*>(first.data())};
  MDB_val value{};
  if (mdb_cursor_get(cursor_, &key, &value, MDB_SET_KEY) != 0) return damaged(place, "record is missing");
  const auto header = read_record_header(text_of(value));
  if (!header) return damaged(place, header.error().context);
  std::string_view bytes = text_of(value);
  if (const std::size_t chunks = chunk_count(record_bytes(*header)); chunks > 1) {
    assembled_.assign(bytes);
    for (std::size_t chunk = 1; chunk < chunks; ++chunk) {
      const bool there = mdb_cursor_get(cursor_, &key, &value, MDB_NEXT) == 0 &&
                         is_log_key(static_cast<const unsigned char*>(key.mv_data), key.mv_size) &&
                         place_of(static_cast<const unsigned char*>(key.mv_data)) == place &&
                         chunk_of(static_cast<const unsigned char*>(key.mv_data)) == chunk;
      if (!there) return damaged(place, "a part of the record is missing");
      assembled_.append(text_of(value));
    }
    bytes = assembled_;
  }
  auto record = read_record(bytes, place);
  if (!record) return damaged(place, record.error().context);
  return record;
}

}  // namespace dmq
