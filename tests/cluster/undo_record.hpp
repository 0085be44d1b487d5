// One note of a journal of writes: the bytes that were in a file, and where. They follow it.
#pragma once

#include <cstdint>

namespace dmq::cluster {

// A journal NAME.undo is notes one behind the other; NAME.path names the file. A last note may be cut short: then the
// write that it was for never happened.
struct UndoRecord {
  std::int64_t offset = 0;
  std::int64_t size = 0;  // bytes that follow; zeros where the file had ended
};

}  // namespace dmq::cluster
