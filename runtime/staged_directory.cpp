// mkdir, flock, fsync and rename behind the staged directory.
#include "runtime/staged_directory.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

namespace dmq {
namespace {

namespace fs = std::filesystem;

tl::unexpected<Error> failure(const std::string& what, int reason) {
  const Errc code = reason == ENOSPC || reason == EDQUOT                           ? Errc::kInsufficientStorage
                    : reason == EEXIST || reason == ENOTEMPTY || reason == ENOTDIR ? Errc::kInvalidArgument
                                                                                   : Errc::kUnavailable;
  return fail(code, what + ": " + std::strerror(reason));
}

std::string without_slash(std::string name) {
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  return name;
}

Result<void> check_free(const std::string& name) {
  std::error_code fault;
  const fs::file_status found = fs::symlink_status(name, fault);
  if (!fs::exists(found)) return {};
  if (fs::is_directory(found) && fs::is_empty(name, fault) && !fault) return {};
  return fail(Errc::kInvalidArgument, name + " is there already, and no empty directory; choose another name");
}

void remove_contents(const std::string& path) {
  std::error_code ignored;  // what cannot be removed is in the way of what comes, which says so
  for (const auto& entry : fs::directory_iterator(path, ignored)) fs::remove_all(entry.path(), ignored);
}

// It may have got its name, or have been removed, between open and flock.
bool is_still(const std::string& path, int fd) {
  struct stat named {};
  struct stat opened {};
  return stat(path.c_str(), &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
         named.st_dev == opened.st_dev;
}

Result<void> sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failure("cannot open " + path, errno);
  const int reason = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  if (reason != 0) return failure("cannot bring " + path + " to the disk", reason);
  return {};
}

Result<void> sync_tree(const std::string& path) {
  std::error_code fault;
  for (fs::recursive_directory_iterator entry(path, fault), end; !fault && entry != end; entry.increment(fault)) {
    if (auto synced = sync_file(entry->path().string()); !synced) return synced;
  }
  if (fault) return failure("cannot read " + path, fault.value());
  return sync_file(path);
}

}  // namespace

std::string StagedDirectory::partial_name(const std::string& name) { return without_slash(name) + ".partial"; }

Result<StagedDirectory> StagedDirectory::make(const std::string& given) {
  const std::string name = without_slash(given);
  if (auto free = check_free(name); !free) return tl::unexpected<Error>(free.error());
  const std::string path = partial_name(name);
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return failure("cannot make " + path, errno);
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return failure("cannot open " + path, errno);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 || !is_still(path, fd)) {
    close(fd);
    return fail(Errc::kUnavailable, path + " is being written by another process");
  }
  remove_contents(path);
  return StagedDirectory(name, path, fd);
}

StagedDirectory::StagedDirectory(StagedDirectory&& other) noexcept
    : name_(std::move(other.name_)), path_(std::exchange(other.path_, {})), fd_(std::exchange(other.fd_, -1)) {}

StagedDirectory::~StagedDirectory() {
  std::error_code ignored;
  if (!path_.empty()) fs::remove_all(path_, ignored);
  if (fd_ >= 0) close(fd_);
}

Result<void> StagedDirectory::publish() {
  if (auto synced = sync_tree(path_); !synced) return synced;
  // Of a directory that came to be there meanwhile only an empty one is replaced.
  if (rename(path_.c_str(), name_.c_str()) != 0) return failure("cannot rename " + path_ + " to " + name_, errno);
  path_.clear();
  const fs::path above = fs::path(name_).parent_path();
  return sync_file(above.empty() ? "." : above.string());
}

}  // namespace dmq
