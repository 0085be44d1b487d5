// flock and mkdtemp behind the directory classes.
#include "runtime/data_directory.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "runtime/clock.hpp"

namespace dmq {
namespace {

constexpr DurationMs kLockWithin{2000};
constexpr int kLockPollMs = 20;

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

}  // namespace

Result<DataDirectory> DataDirectory::open(const std::string& path) {
  std::error_code fault;
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
  path_ = (std::filesystem::temp_directory_path() / "dmq-XXXXXX").string();
  if (mkdtemp(path_.data()) == nullptr) throw std::system_error(errno, std::generic_category(), "mkdtemp " + path_);
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;  // nothing more can be done about leftovers of a temporary store
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace dmq
