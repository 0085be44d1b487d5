// Loaded into daemons before all else (LD_PRELOAD): a wall clock that can jump, and a journal that undoes writes.
//
// DMQ_TEST_CLOCK names a file of 8 bytes, nanoseconds that are added to the wall clock. DMQ_TEST_JOURNAL names a
// directory: before bytes of a data.mdb are overwritten, what they were is appended to a journal there, and a sync of
// that file empties it. So the journals of a killed program tell what a loss of power could have taken back
// (power_loss.cpp reads them). LIMIT: files that were made, renamed or removed are not taken back, and the
// file has to be open for reading too, as LMDB has it.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cluster/undo_record.hpp"

namespace {

using dmq::cluster::UndoRecord;

template <class Function>
Function* real(Function*, const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

const std::atomic<std::int64_t>* map_clock() {
  const char* path = std::getenv("DMQ_TEST_CLOCK");
  const int fd = path == nullptr ? -1 : ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  void* page = ::mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, fd, 0);
  ::close(fd);
  return page == MAP_FAILED ? nullptr : static_cast<const std::atomic<std::int64_t>*>(page);
}

std::int64_t wall_jump_ns() {
  static const auto* const jump = map_clock();
  return jump == nullptr ? 0 : jump->load(std::memory_order_relaxed);
}

// The journals of this process. A lock is held over each write and sync, so that a journal is never behind its file.
class Journals {
 public:
  std::mutex& mutex() { return mutex_; }

  // Notes what [offset, offset + size) of the file is. Writes that are synced at once need no note.
  void before_write(int fd, std::int64_t offset, std::size_t size) {
    const int journal = journal_of(fd);
    if (journal < 0 || (::fcntl(fd, F_GETFL) & (O_DSYNC | O_SYNC)) != 0) return;
    std::string note(sizeof(UndoRecord) + size, '\0');
    const ssize_t had = ::pread(fd, note.data() + sizeof(UndoRecord), size, offset);
    if (had < 0) std::abort();
    const UndoRecord record{offset, static_cast<std::int64_t>(size)};
    std::memcpy(note.data(), &record, sizeof record);
    append(journal, note);
  }
  void after_sync(int fd) {
    const int journal = journal_of(fd);
    if (journal >= 0 && ::ftruncate(journal, 0) != 0) std::abort();
  }

 private:
  struct File {
    dev_t device;
    ino_t inode;
    int journal;
  };

  // -1: a file that is not watched.
  int journal_of(int fd) {
    struct stat found {};
    if (directory_ == nullptr || ::fstat(fd, &found) != 0 || !S_ISREG(found.st_mode)) return -1;
    for (const File& file : files_) {
      if (file.device == found.st_dev && file.inode == found.st_ino) return file.journal;
    }
    std::array<char, 4096> path{};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    const ssize_t length = ::readlink(link.c_str(), path.data(), path.size() - 1);
    if (length <= 0 || !std::string_view(path.data()).ends_with("/data.mdb")) return -1;
    const std::string name =
        std::string(directory_) + "/" + std::to_string(::getpid()) + "-" + std::to_string(files_.size());
    const int target = ::open((name + ".path").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    append(target, path.data());
    ::close(target);
    const int journal = ::open((name + ".undo").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    files_.push_back({found.st_dev, found.st_ino, journal});
    return journal;
  }
  static void append(int fd, std::string_view bytes) {
    static auto* const plain_write = real(&::write, "write");
    if (plain_write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  }

  const char* const directory_ = std::getenv("DMQ_TEST_JOURNAL");
  std::mutex mutex_;
  std::vector<File> files_;
};

Journals& journals() {
  static auto* const all = new Journals();  // outlives the threads that still write at exit
  return *all;
}

template <class Write>
ssize_t journaled(int fd, std::int64_t offset, std::size_t size, Write write) {
  const std::lock_guard lock(journals().mutex());
  journals().before_write(fd, offset, size);
  return write();
}

template <class Sync>
int journaled_sync(int fd, Sync sync) {
  const std::lock_guard lock(journals().mutex());
  const int code = sync(fd);
  if (code == 0) journals().after_sync(fd);
  return code;
}

// LMDB and the daemons write regular files; sockets and pipes must not wait for the lock.
bool is_file(int fd) {
  struct stat found {};
  return ::fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) {
  static auto* const next = real(&::clock_gettime, "clock_gettime");
  const int code = next(clock, out);
  if (code != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return code;
  constexpr std::int64_t kSecond = 1'000'000'000;
  const std::int64_t total = out->tv_sec * kSecond + out->tv_nsec + wall_jump_ns();
  *out = {total / kSecond, total % kSecond};
  return 0;
}

int gettimeofday(timeval* __restrict out, void* __restrict) noexcept {
  timespec now{};
  const int code = clock_gettime(CLOCK_REALTIME, &now);
  *out = {now.tv_sec, now.tv_nsec / 1000};
  return code;
}

time_t time(time_t* out) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (out != nullptr) *out = now.tv_sec;
  return now.tv_sec;
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t offset) {
  static auto* const next = real(&::pwrite, "pwrite");
  return journaled(fd, offset, size, [&] { return next(fd, bytes, size, offset); });
}

ssize_t write(int fd, const void* bytes, size_t size) {
  static auto* const next = real(&::write, "write");
  if (!is_file(fd)) return next(fd, bytes, size);
  return journaled(fd, ::lseek(fd, 0, SEEK_CUR), size, [&] { return next(fd, bytes, size); });
}

ssize_t writev(int fd, const iovec* parts, int count) {
  static auto* const next = real(&::writev, "writev");
  if (!is_file(fd)) return next(fd, parts, count);
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) size += parts[i].iov_len;
  return journaled(fd, ::lseek(fd, 0, SEEK_CUR), size, [&] { return next(fd, parts, count); });
}

int fdatasync(int fd) {
  static auto* const next = real(&::fdatasync, "fdatasync");
  return journaled_sync(fd, next);
}

int fsync(int fd) {
  static auto* const next = real(&::fsync, "fsync");
  return journaled_sync(fd, next);
}

}  // extern "C"
