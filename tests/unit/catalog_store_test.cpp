// The catalog on disk.
#include <lmdb.h>
#include <catch2/catch.hpp>

#include "metad/catalog_store.hpp"
#include "protocol/partitioner.hpp"
#include "runtime/data_directory.hpp"

using namespace dmq;

namespace {

QueueInfo queue(std::uint64_t id, const std::string& name) {
  return {QueueId{id}, name, PartitionId{1}, TimeMs{5}, {DurationMs{5000}}};
}

const ClusterInfo kCluster{77, 3, 2};

CatalogImage first_start(std::uint16_t partitions) {
  CatalogImage image;
  image.counters.partitions = partitions;
  image.records = {kCluster};
  return image;
}

std::unique_ptr<CatalogStore> open_store(const std::string& directory) {
  auto store = CatalogStore::open(directory, first_start(16));
  if (!store) FAIL(store.error().context);
  return std::move(*store);
}

// As the header of the store says: xxh3 of the content, seeded with that of the key, big-endian.
std::string checksum(std::string_view key, std::string_view content) {
  const std::uint64_t sum = stable_hash(content, stable_hash(key));
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(sum >> shift));
  return out;
}

// Changes one key behind the store's back, with a good checksum of its own or the given one.
void overwrite(const std::string& directory, std::string key, const std::string& text, std::string sum = "") {
  std::string value = (sum.empty() ? checksum(key, text) : sum) + text;
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi dbi = 0;
  REQUIRE(mdb_env_create(&env) == 0);
  REQUIRE(mdb_env_open(env, directory.c_str(), MDB_NOTLS, 0600) == 0);
  REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  REQUIRE(mdb_dbi_open(txn, nullptr, 0, &dbi) == 0);
  MDB_val name{key.size(), key.data()};
  MDB_val content{value.size(), value.data()};
  REQUIRE(mdb_put(txn, dbi, &name, &content, 0) == 0);
  REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
}

}  // namespace

TEST_CASE("a new store is an empty catalog with its partitions", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  const auto store = open_store(directory.path() + "/deep/below");
  const auto image = store->load();
  REQUIRE(image);
  CHECK(image->records == std::vector<CatalogChange>{kCluster});
  CHECK(image->counters.partitions == 16);
  CHECK(image->counters.version == CatalogVersion{0});
}

TEST_CASE("a restart keeps everything, the last record of each key", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  const CatalogCounters counters{1, {9}, 16, {3}, {4}};
  const WorkerInfo worker{"w", "tcp://h:1", SessionId{4}, true, "commit"};
  const PartitionInfo partition{.id = {300}, .epoch = {2}, .leader = "w", .leader_session = {4}, .replicas = {"w"}};
  {
    const auto store = open_store(directory.path());
    REQUIRE(store->commit(counters,
                          {queue(1, "a"), queue(2, "b"), WorkerInfo{"w", "tcp://h:0", SessionId{1}, false, "none"}}));
    REQUIRE(store->commit(counters, {QueueDeleted{QueueId{1}, "a"}, queue(3, "a"), partition, worker}));
  }
  const auto image = open_store(directory.path())->load();
  REQUIRE(image);
  CHECK(image->counters == counters);
  const std::vector<CatalogChange> expected{kCluster,      partition,     QueueDeleted{QueueId{1}, "a"},
                                            queue(2, "b"), queue(3, "a"), worker};
  CHECK(image->records == expected);
}

TEST_CASE("a worker that was forgotten is not there after a restart", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  const WorkerInfo kept{"kept", "tcp://h:1", SessionId{4}, false, "commit"};
  const WorkerInfo gone{"gone", "tcp://h:2", SessionId{5}, false, "commit"};
  const CatalogCounters counters{1, {9}, 16, {0}, {5}};
  {
    const auto store = open_store(directory.path());
    REQUIRE(store->commit(counters, {kept, gone}));
    REQUIRE(store->commit(counters, {WorkerForgotten{"gone"}, WorkerForgotten{"never there"}}));
  }
  CHECK(open_store(directory.path())->load()->records == std::vector<CatalogChange>{kCluster, kept});
}

TEST_CASE("the partition count is that of the first start", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  open_store(directory.path());
  const auto store = CatalogStore::open(directory.path(), first_start(99));
  REQUIRE(store);
  CHECK((*store)->load()->counters.partitions == 16);
}

TEST_CASE("a directory is used by one store at a time, and free after it", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  {
    const auto first = open_store(directory.path());
    const auto second = CatalogStore::open(directory.path(), first_start(16));
    REQUIRE_FALSE(second);
    CHECK(second.error().code == Errc::kUnavailable);
    CHECK(second.error().context.find("is in use by another process") != std::string::npos);
  }
  CHECK(CatalogStore::open(directory.path(), first_start(16)));
}

TEST_CASE("a format of the future is refused", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  open_store(directory.path());
  overwrite(directory.path(), "mformat", std::string("\0\0\0\0\0\0\0\3", 8));
  const auto store = CatalogStore::open(directory.path(), first_start(16));
  REQUIRE_FALSE(store);
  CHECK(store.error().code == Errc::kUnsupported);
  CHECK(store.error().context.find("format 3") != std::string::npos);
}

TEST_CASE("a damaged record is told and never read", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  REQUIRE(open_store(directory.path())->commit({0, {1}, 16, {1}, {0}}, {queue(1, "a")}));
  overwrite(directory.path(), std::string("q\0\0\0\0\0\0\0\1", 9), "nonsense that is no record", "12345678");
  const auto image = open_store(directory.path())->load();
  REQUIRE_FALSE(image);
  CHECK(image.error().context.find("damaged") != std::string::npos);
}

TEST_CASE("a full store refuses the write, keeps what it had and stays usable", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  auto store = CatalogStore::open(directory.path(), first_start(16), 128 * 1024);
  REQUIRE(store);
  std::vector<CatalogChange> many;
  for (std::uint64_t id = 1; id <= 5000; ++id) many.emplace_back(queue(id, "q" + std::to_string(id)));
  const auto written = (*store)->commit({0, {5000}, 16, {5000}, {0}}, many);
  REQUIRE_FALSE(written);
  CHECK(written.error().code == Errc::kInsufficientStorage);
  CHECK((*store)->load()->counters.version == CatalogVersion{0});
  CHECK((*store)->commit({0, {1}, 16, {1}, {0}}, {queue(1, "small")}));
  CHECK((*store)->load()->records == std::vector<CatalogChange>{kCluster, queue(1, "small")});
}

TEST_CASE("a catalog of format 1 becomes one with single replicas and a cluster", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  REQUIRE(open_store(directory.path())
              ->commit({0, {9}, 16, {0}, {4}}, {WorkerInfo{"here", "tcp://h:1", SessionId{4}, true, "commit"},
                                                WorkerInfo{"away", "tcp://h:2", SessionId{3}, false, "commit"}}));
  const auto number = [](char value) { return std::string(7, '\0') + value; };
  // {"changes": [{"partition": {"id": ID, "epoch": 5, "leader": NAME}}]}, as that format wrote it.
  const auto old_partition = [&](char id, const std::string& leader) {
    overwrite(directory.path(), "p" + number(id),
              std::string("\x81\xa7"
                          "changes\x91\x81\xa9"
                          "partition\x83\xa2id") +
                  id +
                  "\xa5"
                  "epoch\x05\xa6leader\xa4" +
                  leader);
  };
  old_partition(1, "here");
  old_partition(2, "away");
  overwrite(directory.path(), "mformat", number(1));
  for (int start = 1; start <= 2; ++start) {  // the second one finds format 2
    INFO("start " << start);
    const auto image = open_store(directory.path())->load();
    REQUIRE(image);
    CHECK(image->counters.version == CatalogVersion{12});
    REQUIRE(image->records.size() == 5);
    CHECK(std::get<ClusterInfo>(image->records[0]) == ClusterInfo{kCluster.id, 1, 1});
    CHECK(std::get<PartitionInfo>(image->records[1]) == PartitionInfo{.id = {1},
                                                                      .epoch = {5},
                                                                      .version = {1},
                                                                      .leader = "here",
                                                                      .leader_session = {4},
                                                                      .replicas = {"here"},
                                                                      .in_sync = {"here"}});
    CHECK(std::get<PartitionInfo>(image->records[2]) ==
          PartitionInfo{.id = {2}, .epoch = {6}, .version = {1}, .replicas = {"away"}, .eligible = {"away"}});
  }
}

TEST_CASE("a look at a catalog finds what was committed, and changes nothing", "[metad][catalog_store][backup]") {
  TemporaryDirectory directory;
  CHECK(CatalogStore::look(directory.path()).error().code == Errc::kInvalidArgument);
  {
    const auto store = open_store(directory.path());
    REQUIRE(store->commit({3, CatalogVersion{9}, 16, QueueId{4}, SessionId{5}}, {queue(4, "jobs")}));
  }
  const auto image = CatalogStore::look(directory.path());
  REQUIRE(image);
  CHECK(image->counters == CatalogCounters{3, CatalogVersion{9}, 16, QueueId{4}, SessionId{5}});
  CHECK(image->records.size() == 2);  // and the cluster
  overwrite(directory.path(), "mformat", std::string("\0\0\0\0\0\0\0\1", 8));
  CHECK(CatalogStore::look(directory.path()).error().code == Errc::kUnsupported);
}
