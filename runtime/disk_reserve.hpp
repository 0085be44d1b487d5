// Room on the disk that a store keeps for what must still be written when the disk is full.
#pragma once

#include <cstdint>
#include <string>

namespace dmq {

// Is there almost nothing left on the file system of this directory?
bool disk_is_full(const std::string& directory);

// A file `reserve` in a store's directory, of at most a 32nd of the disk. A store that cannot write a removal, an
// epoch or a session gives it up and tries again; so a full disk can be emptied, also after a restart. Not
// thread-safe, like the store that owns it.
//
//   HELD -- release --> GIVEN UP -- restore, once the disk has room again --> HELD
class DiskReserve {
 public:
  // Takes the room when there is some.
  DiskReserve(const std::string& directory, std::uint64_t bytes);

  // True: there is more room now than before.
  bool release();
  // Takes the room again if the disk has it and as much again beside it.
  void restore();

 private:
  const std::string directory_;
  const std::string path_;
  std::uint64_t bytes_ = 0;
  bool held_ = false;
};

}  // namespace dmq
