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

CatalogCounters first_start(std::uint16_t partitions) {
  CatalogCounters counters;
  counters.partitions = partitions;
  return counters;
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

// Changes the stored bytes of one key behind the store's back.
void overwrite(const std::string& directory, std::string key, std::string value) {
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
  CHECK(image->records.empty());
  CHECK(image->counters.partitions == 16);
  CHECK(image->counters.version == CatalogVersion{0});
}

TEST_CASE("a restart keeps everything, the last record of each key", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  const CatalogCounters counters{1, {9}, 16, {3}, {4}};
  const WorkerInfo worker{"w", "tcp://h:1", SessionId{4}, true, "commit"};
  const PartitionInfo partition{PartitionId{300}, Epoch{2}, "w"};
  {
    const auto store = open_store(directory.path());
    REQUIRE(store->commit(counters,
                          {queue(1, "a"), queue(2, "b"), WorkerInfo{"w", "tcp://h:0", SessionId{1}, false, "none"}}));
    REQUIRE(store->commit(counters, {QueueDeleted{QueueId{1}, "a"}, queue(3, "a"), partition, worker}));
  }
  const auto image = open_store(directory.path())->load();
  REQUIRE(image);
  CHECK(image->counters == counters);
  const std::vector<CatalogChange> expected{partition, QueueDeleted{QueueId{1}, "a"}, queue(2, "b"), queue(3, "a"),
                                            worker};
  CHECK(image->records == expected);
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
  const std::string two("\0\0\0\0\0\0\0\2", 8);
  overwrite(directory.path(), "mformat", checksum("mformat", two) + two);
  const auto store = CatalogStore::open(directory.path(), first_start(16));
  REQUIRE_FALSE(store);
  CHECK(store.error().code == Errc::kUnsupported);
  CHECK(store.error().context.find("format 2") != std::string::npos);
}

TEST_CASE("a damaged record is told and never read", "[metad][catalog_store]") {
  TemporaryDirectory directory;
  REQUIRE(open_store(directory.path())->commit({0, {1}, 16, {1}, {0}}, {queue(1, "a")}));
  overwrite(directory.path(), std::string("q\0\0\0\0\0\0\0\1", 9), "nonsense that is no record");
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
  CHECK((*store)->load()->records == std::vector<CatalogChange>{queue(1, "small")});
}
