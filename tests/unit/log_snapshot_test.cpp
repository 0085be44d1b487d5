// Copies of a store: whole, startable, and never of a damaged one.
#include "storage/log_snapshot.hpp"

#include <lmdb.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>

#include "runtime/data_directory.hpp"
#include "storage/log.hpp"
#include "storage/log_keys.hpp"
#include "storage/side_rows.hpp"

namespace dmq {
namespace {

constexpr std::uint64_t kMapBytes = 256 << 20;

struct Directories {
  TemporaryDirectory root;
  std::string from = root.path() + "/from";
  std::string to = root.path() + "/to";

  Directories() { std::filesystem::create_directory(to); }
  std::unique_ptr<Log> open(const std::string& path) const {
    auto log = Log::open({path, SyncMode::kCommit, kMapBytes, OnDamage::kRefuse});
    if (!log) FAIL(log.error().context);
    return std::move(*log);
  }
  // What the copy says; the store must not be open.
  Result<LogCopied> copy() const {
    const auto snapshot = LogSnapshot::take(from);
    if (!snapshot) return tl::unexpected<Error>(snapshot.error());
    (*snapshot)->release();
    return (*snapshot)->copy_to(to);
  }
};

PutRecord put(PartitionId partition, std::uint64_t lsn, std::string_view body) {
  RecordHeader header;
  header.epoch = {1};
  header.queue = {1};
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  return {{partition, {lsn}}, {header, {}, {}, body}, {}};
}

// Some partitions with records of one and of several parts, of which some are gone again.
void fill(Log& log, std::uint64_t records) {
  const std::string large(100'000, 'x');
  for (std::uint64_t lsn = 1; lsn <= records; ++lsn) {
    WriteBatch writes;
    for (const PartitionId partition : {PartitionId{0}, PartitionId{3}, PartitionId{700}}) {
      writes.records.push_back(put(partition, lsn, lsn % 5 == 0 ? std::string_view(large) : "small"));
    }
    REQUIRE(log.commit(writes));
  }
  WriteBatch removals;
  for (std::uint64_t lsn = 1; lsn <= records; lsn += 3) removals.removals.push_back({{3}, {lsn}});
  REQUIRE(log.commit(removals));
}

std::map<RecordPlace, std::uint32_t> places(const Log& log) {
  std::map<RecordPlace, std::uint32_t> found;
  LogVisitor visitor;
  const auto wrong = [](const auto&...) { FAIL("a row that was not written, or not so"); };
  visitor.partition = [](PartitionId, const PartitionState&) {};
  visitor.producer = wrong;
  visitor.epochs = wrong;
  visitor.returned = wrong;
  visitor.dropped = wrong;
  visitor.damaged = wrong;
  visitor.miscounted = wrong;
  visitor.record = [&](RecordPlace place, const RecordHeader& header) { found[place] = header.body_bytes; };
  REQUIRE(log.visit(visitor));
  return found;
}

// Changes a row behind the store's back.
void overwrite(const std::string& directory, std::string_view key, std::string_view value) {
  MDB_env* env = nullptr;
  MDB_txn* txn = nullptr;
  MDB_dbi table = 0;
  REQUIRE(mdb_env_create(&env) == 0);
  REQUIRE(mdb_env_set_mapsize(env, kMapBytes) == 0);
  REQUIRE(mdb_env_open(env, directory.c_str(), MDB_NOTLS, 0600) == 0);
  REQUIRE(mdb_txn_begin(env, nullptr, 0, &txn) == 0);
  REQUIRE(mdb_dbi_open(txn, nullptr, 0, &table) == 0);
  MDB_val name{key.size(), const_cast<char*>(key.data())};
  MDB_val row{value.size(), const_cast<char*>(value.data())};
  REQUIRE(mdb_put(txn, table, &name, &row, 0) == 0);
  REQUIRE(mdb_txn_commit(txn) == 0);
  mdb_env_close(env);
}

}  // namespace

TEST_CASE("a copy of a store starts, and has the same rows and identity", "[storage][log][backup]") {
  const Directories directories;
  std::string identity;
  std::map<RecordPlace, std::uint32_t> written;
  {
    const auto log = directories.open(directories.from);
    fill(*log, 300);  // more than one transaction of the copy
    identity = log->store_id();
    written = places(*log);
  }
  const auto copied = directories.copy();
  REQUIRE(copied);
  CHECK(copied->records == written.size());
  {
    const auto copy = directories.open(directories.to);  // verifies its pages, and which commit was the last
    CHECK(copy->store_id() == identity);
    CHECK_FALSE(copy->is_old());
    CHECK(places(*copy) == written);
    REQUIRE(copy->commit([] {
      WriteBatch more;
      more.records.push_back(put({3}, 301, "more"));
      return more;
    }()));
  }
  CHECK(places(*directories.open(directories.to)).size() == written.size() + 1);
}

TEST_CASE("a copy has no free pages", "[storage][log][backup]") {
  const Directories directories;
  {
    const auto log = directories.open(directories.from);
    fill(*log, 100);
    WriteBatch all;
    for (const auto& [place, bytes] : places(*log)) all.removals.push_back(place);
    REQUIRE(log->commit(all));
  }
  REQUIRE(directories.copy());
  CHECK(std::filesystem::file_size(directories.from + "/data.mdb") > 5'000'000);
  CHECK(std::filesystem::file_size(directories.to + "/data.mdb") < 100'000);
  CHECK(places(*directories.open(directories.to)).empty());
}

TEST_CASE("a store that nothing was ever written to is copied", "[storage][log][backup]") {
  const Directories directories;
  { directories.open(directories.from); }
  REQUIRE(directories.copy());
  CHECK(places(*directories.open(directories.to)).empty());
}

TEST_CASE("a damaged store is not copied as if it were whole", "[storage][log][backup]") {
  const Directories directories;
  { fill(*directories.open(directories.from), 10); }
  SECTION("a record that nobody counted") {
    const LogKey key = log_key({{3}, {99}}, 0);
    overwrite(directories.from, {reinterpret_cast<const char*>(key.data()), key.size()}, "12345678");
    CHECK(directories.copy().error().context.find("the records of partition 3 are not those that were written") !=
          std::string::npos);
  }
  SECTION("a record of a partition that has none") {
    const LogKey key = log_key({{5}, {99}}, 0);
    overwrite(directories.from, {reinterpret_cast<const char*>(key.data()), key.size()}, "12345678");
    CHECK(directories.copy().error().context.find("partition 5") != std::string::npos);
  }
  SECTION("a side row with a wrong checksum") {
    overwrite(directories.from, tally_key({3}), "3nonsense");
    CHECK(directories.copy().error().code == Errc::kInternal);
  }
}

TEST_CASE("what is no store of this format is refused", "[storage][log][backup]") {
  const Directories directories;
  CHECK(directories.copy().error().code == Errc::kInvalidArgument);  // nothing is there
  { directories.open(directories.from); }
  SECTION("another format") {
    const std::string key = store_key("version");
    overwrite(directories.from, key, sealed_version(key, 4));
    CHECK(directories.copy().error().code == Errc::kUnsupported);
  }
  SECTION("no format at all") {
    overwrite(directories.from, store_key("version"), "?");
    CHECK(directories.copy().error().code == Errc::kInvalidArgument);
  }
}

}  // namespace dmq
