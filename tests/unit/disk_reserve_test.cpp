// The reserve is room on the disk that comes back when it is given up.
#include "runtime/disk_reserve.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "runtime/data_directory.hpp"

using namespace dmq;

TEST_CASE("a reserve is held until it is given up, once", "[runtime][reserve]") {
  const TemporaryDirectory directory;
  const std::string file = directory.path() + "/reserve";
  DiskReserve reserve(directory.path(), 65536);
  CHECK(std::filesystem::file_size(file) == 65536);
  CHECK(reserve.release());
  CHECK(std::filesystem::file_size(file) == 0);
  CHECK_FALSE(reserve.release());
  reserve.restore();
  CHECK(std::filesystem::file_size(file) == 65536);
}

TEST_CASE("a reserve of an earlier run is found", "[runtime][reserve]") {
  const TemporaryDirectory directory;
  { const DiskReserve earlier(directory.path(), 65536); }
  DiskReserve reserve(directory.path(), 65536);
  CHECK(reserve.release());
}

TEST_CASE("a reserve is no more than a part of the disk", "[runtime][reserve]") {
  const TemporaryDirectory directory;
  const auto disk = std::filesystem::space(directory.path());
  if (disk.available < disk.capacity / 10) return;  // too full to see it
  DiskReserve reserve(directory.path(), UINT64_MAX);
  CHECK(std::filesystem::file_size(directory.path() + "/reserve") <= disk.capacity / 32);
  CHECK(reserve.release());
}
