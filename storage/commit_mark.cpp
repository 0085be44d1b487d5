// pread and pwrite of a few bytes.
#include "storage/commit_mark.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>

namespace dmq {
namespace {

// The number of the transaction, the sum of its meta page, the checksum of both.
struct Row {
  std::uint64_t transaction;
  std::uint64_t sum;
  std::uint64_t checksum;
};

std::uint64_t checksum_of(const Row& row) { return XXH3_64bits(&row, offsetof(Row, checksum)); }

// Empty: it is of another one, as that which changed nothing wrote none.
std::optional<PageCheck::Meta> read_meta(int store, std::uint64_t transaction) {
  std::array<char, PageCheck::kMetaBytes> page;
  const auto at = static_cast<off_t>((transaction & 1) * PageCheck::kPageBytes);
  if (pread(store, page.data(), page.size(), at) != static_cast<ssize_t>(page.size())) return std::nullopt;
  const PageCheck::Meta meta = PageCheck::meta_of({page.data(), page.size()});
  return meta.transaction == transaction ? std::optional(meta) : std::nullopt;
}

}  // namespace

CommitMark::CommitMark(const std::string& directory)
    : fd_(::open((directory + "/" + kFile).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)) {
  Row row{};
  const bool whole = fd_ >= 0 && pread(fd_, &row, sizeof row, 0) == sizeof row;
  if (whole && row.checksum == checksum_of(row)) found_ = PageCheck::Meta{row.transaction, row.sum};
}

CommitMark::~CommitMark() {
  if (fd_ >= 0) close(fd_);
}

void CommitMark::observe(int store, std::uint64_t transaction) { last_ = read_meta(store, transaction); }

bool CommitMark::holds(int store) const {
  const auto now = last_ ? read_meta(store, last_->transaction) : std::nullopt;
  return !last_ || (now && now->sum == last_->sum);
}

void CommitMark::write() {
  if (fd_ < 0 || !last_) return;
  Row row{last_->transaction, last_->sum, 0};
  row.checksum = checksum_of(row);
  static_cast<void>(!pwrite(fd_, &row, sizeof row, 0));
}

void CommitMark::forget() {
  found_.reset();
  if (fd_ >= 0) static_cast<void>(!ftruncate(fd_, 0));
}

}  // namespace dmq
