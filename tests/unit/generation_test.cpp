// Rule 12 of replication: metad restored from a backup.
#include "metad/generation.hpp"

#include "controller_script.hpp"
#include "metad/catalog_store.hpp"
#include "protocol/partitioner.hpp"
#include "runtime/data_directory.hpp"

using namespace dmq;

namespace {

PartitionInfo led_partition() {
  return {.id = {3},
          .epoch = {7},
          .version = {9},
          .leader = "a",
          .leader_session = {4},
          .min_in_sync = 2,
          .replicas = {"a", "b", "c"},
          .in_sync = {"a", "b"}};
}

CatalogImage backup() {
  CatalogImage image;
  image.counters = {1, {50}, 16, {20}, {4}};
  image.records = {ClusterInfo{77, 3, 2}, led_partition(), WorkerInfo{"a", "inproc://a", SessionId{4}, true, "commit"},
                   WorkerInfo{"b", "inproc://b", SessionId{3}, true, "commit"},
                   WorkerInfo{"c", "inproc://c", SessionId{2}, false, "commit"}};
  return image;
}

}  // namespace

TEST_CASE("rule 12: after a restore nothing is given again that was given after the backup", "[metad][generation]") {
  CatalogImage image = backup();
  raise_generation(image, TimeMs{1'700'000'000'000});
  CHECK(image.counters.generation == 2);
  CHECK(image.counters.version > CatalogVersion{50});
  CHECK(image.counters.last_queue.value > 1'000'000);
  CHECK(image.counters.last_session == SessionId{1'700'000'000'000});
  const auto& partition = std::get<PartitionInfo>(image.records[1]);
  CHECK(partition.epoch.value > 1'000'000);
  CHECK(partition.version.value > 1'000'000);
  CHECK(partition.leader.empty());
  CHECK(partition.in_sync.empty());
  CHECK(partition.eligible == std::vector<std::string>{"a", "b"});
}

TEST_CASE("rule 12: after a restore workers register anew and lead again", "[metad][generation]") {
  CatalogImage image = backup();
  int i = 0;
  while (partition_of("q" + std::to_string(i), 16) != PartitionId{3}) ++i;
  image.records.emplace_back(QueueInfo{QueueId{1}, "q" + std::to_string(i), PartitionId{3}, TimeMs{1}, {}});
  raise_generation(image, TimeMs{1'700'000'000'000});
  Script s(image);
  s.worker(0, "c");
  CHECK(s.partitions()[3].leader.empty());  // it was not in sync
  CHECK(s.error(0, MemberHeartbeat{SessionId{4}}) == Errc::kUnavailable);
  const SessionId b = s.worker(1, "b");
  CHECK(b > SessionId{1'700'000'000'000});
  CHECK(s.partitions()[3].leader == "b");
  CHECK(s.partitions()[3].leader_session == b);
}

TEST_CASE("rule 12: the generation is raised on disk, where there is a catalog", "[metad][generation]") {
  TemporaryDirectory directory;
  const auto none = raise_generation(directory.path() + "/none", TimeMs{5});
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::kInvalidArgument);
  {
    auto store = CatalogStore::open(directory.path(), backup());
    REQUIRE(store);
    const auto in_use = raise_generation(directory.path(), TimeMs{5});
    REQUIRE_FALSE(in_use);
    CHECK(in_use.error().code == Errc::kUnavailable);
  }
  CHECK(raise_generation(directory.path(), TimeMs{5}).value() == 2);
  CHECK(raise_generation(directory.path(), TimeMs{5}).value() == 3);
  const auto image = (*CatalogStore::open(directory.path(), std::nullopt))->load();
  REQUIRE(image);
  CHECK(image->counters.generation == 3);
  CHECK(image->counters.partitions == 16);
}
