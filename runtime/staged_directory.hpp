// A new directory that has its name only once all that is in it is on the disk.
#pragma once

#include <string>

#include "protocol/error.hpp"

namespace dmq {

// Lies in the file of this name in a directory that is a backup, and not to be used as it is.
inline constexpr const char* kBackupMark = "BACKUP";

// Until publish() it is NAME.partial, locked (flock) as long as this lives; destroyed before, it is removed. What a
// process that was killed left of it is removed by the next that makes it.
class StagedDirectory {
 public:
  // Where it lies until it is published.
  static std::string partial_name(const std::string& name);

  // Errors, each a plain sentence: invalid_argument (`name` is there and no empty directory), unavailable (another
  // process makes it now; no such directory above it, no permission), insufficient_storage.
  static Result<StagedDirectory> make(const std::string& name);

  StagedDirectory(StagedDirectory&& other) noexcept;
  StagedDirectory& operator=(StagedDirectory&&) = delete;
  ~StagedDirectory();
  const std::string& path() const { return path_; }

  // Brings all of it to the disk and gives it its name. Errors: as make(), internal.
  Result<void> publish();

 private:
  StagedDirectory(std::string name, std::string path, int fd)
      : name_(std::move(name)), path_(std::move(path)), fd_(fd) {}
  std::string name_;
  std::string path_;  // empty: published
  int fd_;
};

}  // namespace dmq
