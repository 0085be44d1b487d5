// flock and mkdtemp behind the directory classes.
#include "runtime/data_directory.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "runtime/clock.hpp"
#include "runtime/staged_directory.hpp"

namespace dmq {
namespace {

constexpr DurationMs kLockWithin{2000};
constexpr int kLockPollMs = 20;
constexpr std::string_view kTemporaryPrefix = "dmq-ephemeral-";
constexpr const char* kTemporaryLock = "temporary.lock";
constexpr int kRemovedMax = 100;  // at once: a start is not to take long

// 0, or why the lock could not be had. The kernel wakes nobody in a bounded time, so this asks again and again.
int lock_in_time(int fd) {
  const TimeMs until = steady_now() + kLockWithin;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    if ((reason != EWOULDBLOCK && reason != EINTR) || steady_now() >= until) return reason;
    poll(nullptr, 0, kLockPollMs);
  }
  return 0;
}

bool is_temporary_of_ours(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  struct stat found {};
  return name.starts_with(kTemporaryPrefix) && name.size() == kTemporaryPrefix.size() + 6 &&
         lstat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode) && found.st_uid == geteuid();
}

// While the lock file is there, who is interrupted here is followed by the next.
void remove_with_lock_last(const std::filesystem::path& path) {
  std::error_code ignored;  // nothing more can be done about leftovers of a temporary store
  std::error_code fault;
  std::filesystem::directory_iterator entry(path, fault);
  for (; !fault && entry != std::filesystem::directory_iterator(); entry.increment(fault)) {
    if (entry->path().filename() != kTemporaryLock) std::filesystem::remove_all(entry->path(), ignored);
  }
  std::filesystem::remove_all(path, ignored);
}

bool remove_if_left_behind(const std::filesystem::path& path) {
  const int lock = ::open((path / kTemporaryLock).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (lock < 0) return false;
  const bool left_behind = flock(lock, LOCK_EX | LOCK_NB) == 0;
  if (left_behind) remove_with_lock_last(path);
  close(lock);
  return left_behind && !std::filesystem::exists(path);
}

}  // namespace

Result<DataDirectory> DataDirectory::open(const std::string& path) {
  std::error_code fault;
  if (std::filesystem::exists(path + "/" + kBackupMark, fault)) {
    return fail(Errc::kUnavailable, path + " is a backup; make a data directory of it with: dmq restore");
  }
  std::filesystem::create_directories(path, fault);
  if (fault) return fail(Errc::kUnavailable, "cannot make the data directory " + path + ": " + fault.message());
  const std::string lock = path + "/dmq.lock";
  const int fd = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail(Errc::kUnavailable, "cannot open " + lock + ": " + std::strerror(errno));
  const int reason = lock_in_time(fd);
  if (reason == 0) return DataDirectory(path, fd);
  close(fd);
  if (reason == EWOULDBLOCK) {
    return fail(Errc::kUnavailable,
                "data directory " + path + " is in use by another process; stop that one or choose another --data");
  }
  return fail(Errc::kUnavailable, "cannot lock " + lock + ": " + std::strerror(reason));
}

DataDirectory::DataDirectory(DataDirectory&& other) noexcept : path_(std::move(other.path_)), fd_(other.fd_) {
  other.fd_ = -1;
}

DataDirectory::~DataDirectory() {
  if (fd_ >= 0) close(fd_);
}

TemporaryDirectory::TemporaryDirectory() {
  path_ = (std::filesystem::temp_directory_path() / (std::string(kTemporaryPrefix) + "XXXXXX")).string();
  if (mkdtemp(path_.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp " + path_);
  // It gets its name once it is locked: a lock file that can be locked is always one that was left behind.
  const std::string unnamed = path_ + "/new";
  lock_ = ::open(unnamed.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (lock_ < 0 || flock(lock_, LOCK_EX | LOCK_NB) != 0 ||
      rename(unnamed.c_str(), (path_ + "/" + kTemporaryLock).c_str()) != 0) {
    throw std::system_error(errno, std::generic_category(), "lock " + path_);
  }
}

TemporaryDirectory::~TemporaryDirectory() {
  remove_with_lock_last(path_);
  close(lock_);
}

int TemporaryDirectory::remove_left_behind() {
  int removed = 0;
  std::error_code fault;
  std::filesystem::directory_iterator entry(std::filesystem::temp_directory_path(fault), fault);
  for (; !fault && entry != std::filesystem::directory_iterator() && removed < kRemovedMax; entry.increment(fault)) {
    if (is_temporary_of_ours(entry->path()) && remove_if_left_behind(entry->path())) ++removed;
  }
  return removed;
}

}  // namespace dmq
