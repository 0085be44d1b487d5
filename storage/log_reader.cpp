// One read transaction, renewed and reset, with one cursor.
#include "storage/log_reader.hpp"

#include <lmdb.h>
#include <sys/mman.h>

#include "storage/log.hpp"
#include "storage/log_rows.hpp"

namespace dmq {
namespace {

tl::unexpected<Error> damaged(RecordPlace place, const std::string& what) {
  return fail(Errc::kInternal, "message " + message_id_text(place.partition, place.lsn) + ": " + what);
}

// LMDB found a page that cannot be: that is no fault of one record.
tl::unexpected<Error> unreadable(int code) {
  return fail(Errc::kUnavailable, std::string("cannot read the store: ") + mdb_strerror(code));
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

// The advice may be refused, and reach beyond the file: then nothing happens.
void LogReader::touch(std::string_view row) {
  const auto wanted = ahead_.touch(reinterpret_cast<std::uintptr_t>(row.data()));
  if (wanted) madvise(reinterpret_cast<void*>(wanted->address), wanted->bytes, MADV_WILLNEED);
}

Result<std::string_view> LogReader::assemble(RecordPlace place, std::string_view first) {
  touch(first);
  const auto header = read_record_header(first);
  if (!header) return damaged(place, header.error().context);
  const std::size_t chunks = chunk_count(record_bytes(*header));
  if (chunks == 1) return first;
  assembled_.assign(first);
  for (std::size_t chunk = 1; chunk < chunks; ++chunk) {
    MDB_val key{};
    MDB_val value{};
    const int code = mdb_cursor_get(cursor_, &key, &value, MDB_NEXT);
    if (code != 0 && code != MDB_NOTFOUND) return unreadable(code);
    const bool there = code == 0 && is_log_key(bytes_at(key), key.mv_size) && place_of(bytes_at(key)) == place &&
                       chunk_of(bytes_at(key)) == chunk;
    if (!there) return damaged(place, "a part of the record is missing");
    touch(text_of(value));
    assembled_.append(text_of(value));
  }
  return assembled_;
}

Result<RecordView> LogReader::read(RecordPlace place) {
  const LogKey first = log_key(place, 0);
  MDB_val key{first.size(), const_cast<unsigned char*>(first.data())};
  MDB_val value{};
  const int code = mdb_cursor_get(cursor_, &key, &value, MDB_SET_KEY);
  if (code != 0 && code != MDB_NOTFOUND) return unreadable(code);
  if (code != 0) return damaged(place, "record is missing");
  const auto bytes = assemble(place, text_of(value));
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  auto record = read_record(*bytes, place);
  if (!record) return damaged(place, record.error().context);
  return record;
}

Result<void> LogReader::scan(RecordPlace from, const RecordSource::Visit& visit) {
  MDB_val key{};
  MDB_val value{};
  const auto seek = [&](RecordPlace place) {
    const LogKey first = log_key(place, 0);
    key = {first.size(), const_cast<unsigned char*>(first.data())};
    return mdb_cursor_get(cursor_, &key, &value, MDB_SET_RANGE);
  };
  int code = seek(from);
  while (code == 0 && is_log_key(bytes_at(key), key.mv_size)) {
    const RecordPlace place = place_of(bytes_at(key));
    if (place.partition != from.partition) return {};
    const bool begins = chunk_of(bytes_at(key)) == 0;
    const auto bytes = begins ? assemble(place, text_of(value)) : damaged(place, "the record's first part is missing");
    auto record = bytes.and_then([&](std::string_view whole) { return read_record(whole, place); });
    if (!record && record.error().code == Errc::kUnavailable) return tl::unexpected<Error>(record.error());
    if (bytes && !record) record = damaged(place, record.error().context);
    if (record) {
      code = mdb_cursor_get(cursor_, &key, &value, MDB_NEXT);
      const bool more = code == 0 && is_log_key(bytes_at(key), key.mv_size) && place_of(bytes_at(key)) == place;
      if (more) record = damaged(place, "there is a part that does not belong to the record");
    }
    if (!visit(place.lsn, bytes.value_or(std::string_view()), record)) return {};
    // Behind a damaged record the cursor stands anywhere.
    if (!record) code = seek({place.partition, {place.lsn.value + 1}});
  }
  if (code != 0 && code != MDB_NOTFOUND) return unreadable(code);
  return {};
}

}  // namespace dmq
