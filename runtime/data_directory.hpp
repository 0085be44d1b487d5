// A data directory that belongs to one process at a time.
#pragma once

#include <string>

#include "protocol/error.hpp"

namespace dmq {

// Holds the directory's lock (flock on <dir>/dmq.lock) until destroyed; the kernel frees it when the process dies.
class DataDirectory {
 public:
  // Creates the directory and its parents if absent. Waits up to 2 s for the lock: a process that was killed a moment
  // ago may still hold it. Errors: unavailable, in one plain sentence: in use by another process, not a directory, no
  // permission.
  static Result<DataDirectory> open(const std::string& path);

  DataDirectory(DataDirectory&& other) noexcept;
  DataDirectory& operator=(DataDirectory&&) = delete;
  ~DataDirectory();
  const std::string& path() const { return path_; }

 private:
  DataDirectory(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  std::string path_;
  int fd_;
};

// A new directory under the system's temporary directory, removed with all it holds when this is destroyed. A process
// that is killed leaves it behind: its lock (flock on <dir>/temporary.lock) tells that nobody has it any more. Nothing
// else lies in it at first.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

  // Removes directories of this kind and of this user whose processes are gone; how many. What cannot be removed stays.
  static int remove_left_behind();

 private:
  std::string path_;
  int lock_;
};

}  // namespace dmq
