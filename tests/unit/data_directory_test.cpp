// A data directory belongs to one process at a time, and to the next one soon after; a temporary one ends with it.
#include "runtime/data_directory.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <optional>

#include "runtime/clock.hpp"

namespace dmq {

TEST_CASE("a directory that is given back within two seconds is waited for", "[runtime][data_directory]") {
  const TemporaryDirectory directory;
  auto first = DataDirectory::open(directory.path());
  REQUIRE(first);
  std::optional<DataDirectory> held(std::move(*first));
  auto second = std::async(std::launch::async, [&] { return DataDirectory::open(directory.path()); });
  held.reset();
  CHECK(second.get());
}

TEST_CASE("a directory that stays in use is refused after two seconds", "[runtime][data_directory]") {
  const TemporaryDirectory directory;
  const auto first = DataDirectory::open(directory.path());
  REQUIRE(first);
  const TimeMs begin = steady_now();
  const auto second = DataDirectory::open(directory.path());
  CHECK(steady_now() - begin >= DurationMs{2000});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Errc::kUnavailable);
  CHECK(second.error().context.find("is in use by another process") != std::string::npos);
}

namespace {

// A temporary directory of the system's for as long as this lives, so that a test sees its own directories alone.
class TemporaryRoot {
 public:
  TemporaryRoot() {
    if (const char* before = std::getenv("TMPDIR")) before_ = before;
    setenv("TMPDIR", root_.path().c_str(), 1);
  }
  ~TemporaryRoot() {
    if (before_) setenv("TMPDIR", before_->c_str(), 1);
    if (!before_) unsetenv("TMPDIR");
  }
  TemporaryRoot(const TemporaryRoot&) = delete;
  TemporaryRoot& operator=(const TemporaryRoot&) = delete;
  // A directory with a file in it; `lock`: with the lock file of a temporary directory.
  std::filesystem::path make(const std::string& name, bool lock) const {
    const auto path = std::filesystem::path(root_.path()) / name;
    std::filesystem::create_directories(path / "metad");
    std::ofstream(path / "metad/data.mdb") << "x";
    if (lock) std::ofstream(path / "temporary.lock") << "";
    return path;
  }

 private:
  TemporaryDirectory root_;
  std::optional<std::string> before_;
};

}  // namespace

TEST_CASE("a temporary directory is gone with its owner", "[runtime][data_directory]") {
  std::string path;
  {
    const TemporaryDirectory directory;
    path = directory.path();
    std::ofstream(path + "/file") << "x";
  }
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("only temporary directories that nobody has are removed", "[runtime][data_directory]") {
  const TemporaryRoot root;
  const TemporaryDirectory in_use;
  const auto left = root.make("dmq-ephemeral-abc123", true);
  const auto unlocked = root.make("dmq-ephemeral-abc124", false);
  const auto other_name = root.make("dmq-backup", true);
  const auto longer_name = root.make("dmq-ephemeral-abc1234", true);
  const auto link = left.parent_path() / "dmq-ephemeral-abcdef";
  std::filesystem::create_directory_symlink(other_name, link);
  CHECK(TemporaryDirectory::remove_left_behind() == 1);
  CHECK_FALSE(std::filesystem::exists(left));
  for (const auto& kept : {unlocked, other_name, longer_name, link}) {
    INFO(kept.string());
    CHECK(std::filesystem::exists(kept / "metad/data.mdb"));
  }
  CHECK(std::filesystem::exists(in_use.path()));
  CHECK(TemporaryDirectory::remove_left_behind() == 0);
}

}  // namespace dmq
