// A data directory belongs to one process at a time, and to the next one soon after.
#include "runtime/data_directory.hpp"

#include <catch2/catch.hpp>
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

}  // namespace dmq
