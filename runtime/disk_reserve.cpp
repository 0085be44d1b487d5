// See disk_reserve.hpp.
#include "runtime/disk_reserve.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

namespace dmq {
namespace {

constexpr std::uint64_t kDiskShare = 32;

struct Disk {
  std::uint64_t bytes = UINT64_MAX;
  std::uint64_t free_bytes = UINT64_MAX;
};

Disk disk_of(const std::string& directory) {
  struct statvfs stat {};
  if (statvfs(directory.c_str(), &stat) != 0) return {};
  return {std::uint64_t{stat.f_blocks} * stat.f_frsize, std::uint64_t{stat.f_bavail} * stat.f_frsize};
}

}  // namespace

bool disk_is_full(const std::string& directory) {
  constexpr std::uint64_t kNearlyNothing = 1 << 20;
  return disk_of(directory).free_bytes < kNearlyNothing;
}

DiskReserve::DiskReserve(const std::string& directory, std::uint64_t bytes)
    : directory_(directory),
      path_(directory + "/reserve"),
      bytes_(std::min(bytes, disk_of(directory).bytes / kDiskShare)) {
  struct stat file {};
  held_ = stat(path_.c_str(), &file) == 0 && file.st_size > 0;
  if (!held_) restore();
}

bool DiskReserve::release() {
  if (!held_) return false;
  held_ = false;
  return truncate(path_.c_str(), 0) == 0;
}

void DiskReserve::restore() {
  if (held_ || bytes_ == 0 || disk_of(directory_).free_bytes < 2 * bytes_) return;
  const int fd = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return;
  held_ = posix_fallocate(fd, 0, static_cast<off_t>(bytes_)) == 0;
  if (!held_ && ftruncate(fd, 0) != 0) unlink(path_.c_str());
  close(fd);
}

}  // namespace dmq
