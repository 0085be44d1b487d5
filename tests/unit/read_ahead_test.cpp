// What is read in ahead of a walk through the store, and what is not.
#include "storage/read_ahead.hpp"

#include <catch2/catch.hpp>
#include <vector>

namespace dmq {
namespace {

constexpr std::uintptr_t kBlock = ReadAhead::kBlockBytes;
constexpr std::uintptr_t kPage = 4096;

// The numbers of the blocks that are to be read in when the page is touched.
std::vector<std::uintptr_t> touch(ReadAhead& ahead, std::uintptr_t block, std::uintptr_t page) {
  const auto range = ahead.touch(block * kBlock + page * kPage + 100);
  std::vector<std::uintptr_t> blocks;
  if (!range) return blocks;
  CHECK(range->address % kBlock == 0);
  CHECK(range->bytes % kBlock == 0);
  for (std::uintptr_t at = 0; at < range->bytes; at += kBlock) blocks.push_back((range->address + at) / kBlock);
  return blocks;
}

using Blocks = std::vector<std::uintptr_t>;

TEST_CASE("a walk has the block it is in and the next one read in", "[storage]") {
  ReadAhead ahead;
  CHECK(touch(ahead, 10, 0).empty());
  CHECK(touch(ahead, 10, 1) == Blocks{10, 11});
  CHECK(touch(ahead, 10, 2).empty());
  CHECK(touch(ahead, 11, 0) == Blocks{12});
  CHECK(touch(ahead, 11, 1).empty());
  CHECK(touch(ahead, 12, 7) == Blocks{13});
}

TEST_CASE("a message that is read alone costs its page only", "[storage]") {
  ReadAhead ahead;
  for (std::uintptr_t block = 10; block < 1000; block += 3) {
    CHECK(touch(ahead, block, 5).empty());
    CHECK(touch(ahead, block, 5).empty());  // the next record of that page
  }
}

TEST_CASE("walks side by side do not disturb each other", "[storage]") {
  ReadAhead ahead;
  for (std::uintptr_t walk = 1; walk <= 20; ++walk) touch(ahead, 1000 * walk, 0);
  for (std::uintptr_t walk = 1; walk <= 20; ++walk) {
    CHECK(touch(ahead, 1000 * walk, 1) == Blocks{1000 * walk, 1000 * walk + 1});
  }
  for (std::uintptr_t walk = 1; walk <= 20; ++walk) CHECK(touch(ahead, 1000 * walk + 1, 0) == Blocks{1000 * walk + 2});
}

TEST_CASE("walks through neighbouring blocks have each block read in once", "[storage]") {
  ReadAhead ahead;
  touch(ahead, 10, 0);
  touch(ahead, 11, 0);
  CHECK(touch(ahead, 10, 1) == Blocks{10, 11});
  CHECK(touch(ahead, 11, 1) == Blocks{12});
  CHECK(touch(ahead, 12, 1) == Blocks{13});
  CHECK(touch(ahead, 11, 2).empty());
}

TEST_CASE("a block that was forgotten is read in again", "[storage]") {
  ReadAhead ahead;
  touch(ahead, 10, 0);
  CHECK(touch(ahead, 10, 1) == Blocks{10, 11});
  for (std::uintptr_t other = 100; other < 200; ++other) touch(ahead, other, 0);
  CHECK(touch(ahead, 10, 2).empty());
  CHECK(touch(ahead, 10, 3) == Blocks{10, 11});
}

}  // namespace
}  // namespace dmq
