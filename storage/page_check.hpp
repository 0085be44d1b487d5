// Looks whether the pages of an LMDB file hang together, before LMDB trusts them.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "protocol/error.hpp"

namespace dmq {

// LMDB has no checksums and believes what it reads: a flipped bit in a page of its own makes it lose rows, go back to
// the transaction before, or end the process. This walks all pages in use, of both trees and the list of free pages,
// and believes nothing: each page is in the file, used once, says what it is, and is filled without gaps; keys ascend
// and lie between those of the parent; the counts are right. What it lets pass can be read by LMDB without harm.
class PageCheck {
 public:
  static constexpr std::size_t kPageBytes = 4096;

  // One of the two pages at the start of the file; each commit writes the one that the commit before did not.
  struct Meta {
    std::uint64_t transaction = 0;
    std::uint64_t sum = 0;  // of all that a commit writes there
  };

  using Row = std::function<void(std::string_view key, std::string_view value)>;
  // `file`: all of data.mdb. `row` gets each row of the main tree in order, until something is wrong.
  // Errors: internal: what is wrong, and with which page.
  static Result<Meta> run(std::string_view file, const Row& row);

  // Of the commit with this number, as long as the next but one is not made. `page`: the start of its meta page.
  static Meta meta_of(std::string_view page);
  static constexpr std::size_t kMetaBytes = 152;  // of a meta page, header included
};

}  // namespace dmq
