// A ring of the blocks touched last.
#include "storage/read_ahead.hpp"

#include <algorithm>

namespace dmq {

std::optional<ReadAhead::Range> ReadAhead::touch(std::uintptr_t address) {
  const std::uintptr_t number = address / kBlockBytes;
  const std::uintptr_t page = address / kPageBytes;
  Block* block = blocks_[last_].number == number ? &blocks_[last_] : find(number);
  if (block == nullptr) {
    last_ = next_;
    remember({number, page, false, false});
    return std::nullopt;
  }
  last_ = static_cast<std::size_t>(block - blocks_.data());
  if (block->ahead || (block->page == page && !block->wanted)) return std::nullopt;
  const bool whole = !block->wanted;
  block->wanted = block->ahead = true;
  Block* const behind = find(number + 1);
  const bool new_behind = behind == nullptr || !behind->wanted;
  if (behind != nullptr) {
    behind->wanted = true;
  } else {
    remember({number + 1, 0, true, false});
  }
  if (!whole && !new_behind) return std::nullopt;
  const std::uintptr_t first = whole ? number : number + 1;
  return Range{first * kBlockBytes, (number + (new_behind ? 2 : 1) - first) * kBlockBytes};
}

ReadAhead::Block* ReadAhead::find(std::uintptr_t number) {
  const auto found = std::find_if(blocks_.begin(), blocks_.end(), [&](const Block& b) { return b.number == number; });
  return found == blocks_.end() ? nullptr : &*found;
}

ReadAhead::Block& ReadAhead::remember(const Block& block) {
  Block& place = blocks_[next_];
  next_ = (next_ + 1) % kBlocks;
  return place = block;
}

}  // namespace dmq
