// The file mapped for reading, its pages walked, its rows looked at.
#include "storage/store_check.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "storage/side_rows.hpp"

namespace dmq {
namespace {

constexpr std::uint32_t kSealedSince = 3;  // side rows have checksums from this format on

// A file, mapped while this lives.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    struct stat found {};
    if (fd_ < 0 || fstat(fd_, &found) != 0 || found.st_size == 0) return;
    size_ = static_cast<std::size_t>(found.st_size);
    at_ = mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
  }
  ~MappedFile() {
    if (is_there()) munmap(at_, size_);
    if (fd_ >= 0) close(fd_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  bool is_there() const { return at_ != MAP_FAILED; }
  std::string_view bytes() const { return {static_cast<const char*>(at_), size_}; }

 private:
  int fd_;
  std::size_t size_ = 0;
  void* at_ = MAP_FAILED;
};

// What the rows of the main tree show.
struct Rows {
  std::uint32_t version = 0;
  bool any = false;
  bool any_sealed = false;
  std::uint64_t commit = 0;  // the newest one that a row tells of
  std::string fault;         // the first bad row of a store whose side rows have checksums

  void take(std::string_view key, std::string_view value) {
    any = true;
    if (is_log_key(reinterpret_cast<const unsigned char*>(key.data()), key.size())) return;
    if (key == store_key("version")) version = read_version(key, value);
    const bool good = is_side_key(key) && unseal(key, value);
    any_sealed |= good;
    commit = std::max(commit, read_commit(key, value));
    if (!good && fault.empty()) fault = "a row that says what the records mean does not match its checksum";
  }
  bool are_ours() const { return version != 0 || any_sealed; }
};

}  // namespace

StoreVerdict check_store(const std::string& directory, const CommitMark& mark) {
  // LIMIT: on machines with other pages nothing is checked; LMDB takes theirs.
  if (sysconf(_SC_PAGESIZE) != static_cast<long>(PageCheck::kPageBytes)) return {};
  const MappedFile file(directory + "/data.mdb");
  if (!file.is_there()) return {};
  Rows rows;
  const auto meta =
      PageCheck::run(file.bytes(), [&](std::string_view key, std::string_view value) { rows.take(key, value); });
  const bool ours = mark.found() || rows.are_ours();
  if (!meta) return {ours ? StoreCondition::kDamaged : StoreCondition::kForeign, meta.error().context};
  if (rows.any && !ours) return {StoreCondition::kForeign, "its rows are of another program"};
  if (mark.found() && mark.found()->transaction > meta->transaction) {
    return {StoreCondition::kOld, "its last commit is number " + std::to_string(meta->transaction) + ", but number " +
                                      std::to_string(mark.found()->transaction) + " was made"};
  }
  if (mark.found() && mark.found()->transaction == meta->transaction && mark.found()->sum != meta->sum) {
    return {StoreCondition::kDamaged, "the meta page is not as the last commit wrote it"};
  }
  const bool sealed = rows.version == kSealedSince || (rows.version == 0 && rows.any_sealed);
  if (sealed && !rows.fault.empty()) return {StoreCondition::kDamaged, rows.fault};
  if (sealed && rows.commit != meta->transaction) {
    return {StoreCondition::kDamaged, "the meta page tells of commit " + std::to_string(meta->transaction) +
                                          ", but the rows are of commit " + std::to_string(rows.commit)};
  }
  return {};
}

}  // namespace dmq
