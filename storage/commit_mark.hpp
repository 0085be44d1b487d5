// A small file beside the store that remembers its last commit, so that a store that went back is noticed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "storage/page_check.hpp"

namespace dmq {

// write() comes after each commit that is on the disk, and not synced: a loss of power may leave an older mark, but
// never one that is ahead of its store. Not thread-safe.
class CommitMark {
 public:
  static constexpr const char* kFile = "last-commit";

  explicit CommitMark(const std::string& directory);
  ~CommitMark();
  CommitMark(const CommitMark&) = delete;
  CommitMark& operator=(const CommitMark&) = delete;

  // What was there at the start; empty: nothing, or it is damaged itself.
  const std::optional<PageCheck::Meta>& found() const { return found_; }
  // Takes over what `transaction`, the last one, has written in its meta page. `store`: data.mdb, open for reading.
  void observe(int store, std::uint64_t transaction);
  // The meta page is still as it was then.
  bool holds(int store) const;
  // For the next start. What cannot be written is left out: the mark is older then, and notices less.
  void write();
  // For another store in the same place.
  void forget();

 private:
  int fd_;
  std::optional<PageCheck::Meta> last_;
  std::optional<PageCheck::Meta> found_;
};

}  // namespace dmq
