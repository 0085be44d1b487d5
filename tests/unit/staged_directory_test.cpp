// A directory that appears whole or not at all.
#include "runtime/staged_directory.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <optional>

#include "runtime/data_directory.hpp"

namespace dmq {
namespace {

namespace fs = std::filesystem;

std::string code_of(const Result<StagedDirectory>& made) {
  return std::string(code_name(made ? Errc::kOk : made.error().code));
}

}  // namespace

TEST_CASE("a directory has its name once it is published, and with all that is in it", "[runtime][staged]") {
  const TemporaryDirectory above;
  const std::string name = above.path() + "/copy";
  {
    auto staged = StagedDirectory::make(name + "/");
    REQUIRE(staged);
    CHECK(staged->path() == StagedDirectory::partial_name(name));
    fs::create_directory(staged->path() + "/part");
    std::ofstream(staged->path() + "/part/file") << "x";
    CHECK_FALSE(fs::exists(name));
    CHECK(code_of(StagedDirectory::make(name)) == "unavailable");  // somebody makes it
    REQUIRE(staged->publish());
  }
  CHECK(fs::file_size(name + "/part/file") == 1);
  CHECK_FALSE(fs::exists(StagedDirectory::partial_name(name)));
  CHECK(code_of(StagedDirectory::make(name)) == "invalid_argument");  // not empty
}

TEST_CASE("a directory that is not published is gone", "[runtime][staged]") {
  const TemporaryDirectory above;
  const std::string name = above.path() + "/copy";
  {
    const auto staged = StagedDirectory::make(name);
    REQUIRE(staged);
    std::ofstream(staged->path() + "/file") << "x";
  }
  CHECK_FALSE(fs::exists(name));
  CHECK_FALSE(fs::exists(StagedDirectory::partial_name(name)));
}

TEST_CASE("what a killed process left is not taken along, and an empty directory is replaced", "[runtime][staged]") {
  const TemporaryDirectory above;
  const std::string name = above.path() + "/copy";
  fs::create_directories(StagedDirectory::partial_name(name) + "/old");
  fs::create_directory(name);
  auto staged = StagedDirectory::make(name);
  REQUIRE(staged);
  CHECK(fs::is_empty(staged->path()));
  REQUIRE(staged->publish());
  CHECK(fs::is_empty(name));
}

TEST_CASE("a name that is taken meanwhile is not overwritten", "[runtime][staged]") {
  const TemporaryDirectory above;
  const std::string name = above.path() + "/copy";
  auto staged = StagedDirectory::make(name);
  REQUIRE(staged);
  fs::create_directory(name);
  std::ofstream(name + "/file") << "x";
  const auto published = staged->publish();
  REQUIRE_FALSE(published);
  CHECK(published.error().code == Errc::kInvalidArgument);
  CHECK(fs::exists(name + "/file"));
}

TEST_CASE("where no directory can be made, the error says so", "[runtime][staged]") {
  const auto nowhere = StagedDirectory::make("/nowhere/copy");
  REQUIRE_FALSE(nowhere);
  CHECK(nowhere.error().context == "cannot make /nowhere/copy.partial: No such file or directory");
}

TEST_CASE("a backup is not used as a data directory", "[runtime][staged][data_directory]") {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() + "/" + kBackupMark) << "x";
  const auto opened = DataDirectory::open(directory.path());
  REQUIRE_FALSE(opened);
  CHECK(opened.error().context.find("is a backup") != std::string::npos);
}

}  // namespace dmq
