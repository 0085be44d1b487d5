// The log on a real LMDB: what is committed is there after a restart, and a fault is never silent.
#include "storage/log.hpp"

#include <lmdb.h>
#include <xxhash.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>

#include "runtime/data_directory.hpp"
#include "storage/log_keys.hpp"
#include "storage/log_reader.hpp"

namespace dmq {
namespace {

RecordHeader header_of(std::string_view body, QueueId queue = {1}) {
  RecordHeader header;
  header.epoch = {1};
  header.queue = queue;
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  return header;
}

PutRecord put(RecordPlace place, std::string_view body) { return {place, {header_of(body), {}, {}, body}, {}}; }

constexpr std::size_t kStoreRows = 4;  // version, identity, last commit, tally of partition 0

RecordPlace at(std::uint64_t lsn, std::uint16_t partition = 0) { return {{partition}, {lsn}}; }

struct Store {
  TemporaryDirectory directory;
  std::unique_ptr<Log> log;

  explicit Store(std::uint64_t map_bytes = 256 << 20) : map(map_bytes) { open(); }
  void open(OnDamage on_damage = OnDamage::kRefuse) {
    log.reset();
    auto opened = Log::open({path(), SyncMode::kCommit, map, on_damage});
    REQUIRE(opened);
    log = std::move(*opened);
  }
  std::string path() const { return directory.path() + "/store"; }
  std::string file() const { return path() + "/data.mdb"; }
  // As a fault of the disk would: past all that the log keeps account of.
  void change(const std::function<int(MDB_txn*)>& change) {
    MDB_txn* txn = nullptr;
    REQUIRE(mdb_txn_begin(log->env(), nullptr, 0, &txn) == 0);
    REQUIRE(change(txn) == 0);
    REQUIRE(mdb_txn_commit(txn) == 0);
  }
  // Partitions whose records are not those that were written.
  std::set<PartitionId> counted_wrong() {
    visit([](RecordPlace, const RecordHeader&) {});
    return miscounted;
  }
  std::optional<std::string> body(RecordPlace place) {
    LogReader reader(*log);
    REQUIRE(reader.refresh());
    const auto record = reader.read(place);
    return record ? std::optional(std::string(record->body)) : std::nullopt;
  }
  std::map<RecordPlace, std::uint32_t> places() {
    std::map<RecordPlace, std::uint32_t> found;
    visit([&](RecordPlace place, const RecordHeader& header) { found[place] = header.body_bytes; });
    return found;
  }
  void visit(std::function<void(RecordPlace, const RecordHeader&)> message) {
    LogVisitor visitor;
    visitor.partition = [this](PartitionId id, const PartitionState& state) { partitions[id] = state; };
    visitor.producer = [this](const ProducerKey& key, const ProducerState& state) { producers[key] = state; };
    visitor.epochs = [this](PartitionId id, EpochTable table) { epochs[id] = std::move(table); };
    visitor.returned = [this](RecordPlace place, const ReturnState& state) { returns[place] = state; };
    visitor.record = std::move(message);
    visitor.damaged = [this](RecordPlace, const std::string&) { ++damaged; };
    visitor.dropped = [this](const QueuePlace& place, Lsn below) { dropped[place] = below; };
    visitor.miscounted = [this](PartitionId id) { miscounted.insert(id); };
    partitions.clear(), producers.clear(), returns.clear(), epochs.clear(), dropped.clear(), miscounted.clear();
    REQUIRE(log->visit(visitor));
  }
  std::uint64_t map;
  std::map<PartitionId, PartitionState> partitions;
  std::map<ProducerKey, ProducerState> producers;
  std::map<RecordPlace, ReturnState> returns;
  std::map<PartitionId, EpochTable> epochs;
  std::map<QueuePlace, Lsn> dropped;
  int damaged = 0;
  std::set<PartitionId> miscounted;
};

// Flips the first bit of `text` wherever the store's file has it.
int damage(const std::string& file, const std::string& text) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  int count = 0;
  for (auto found = bytes.find(text); found != std::string::npos; found = bytes.find(text, found + 1), ++count) {
    stream.seekp(static_cast<std::streamoff>(found));
    stream.put(static_cast<char>(text[0] ^ 1));
  }
  return count;
}

}  // namespace

TEST_CASE("bodies of every size around the limits of pages survive a restart", "[storage][log]") {
  Store store;
  std::vector<std::string> bodies;
  for (const std::size_t size :
       {0u, 1u, 1952u, 1953u, 1954u, 4015u, 4016u, 4017u, 8095u, 8096u, 8097u, 100'000u, 3'000'000u}) {
    bodies.emplace_back(size, static_cast<char>('a' + bodies.size()));
  }
  WriteBatch batch;
  for (std::size_t i = 0; i < bodies.size(); ++i) batch.records.push_back(put(at(i + 1), bodies[i]));
  REQUIRE(store.log->commit(batch));
  store.open();
  for (std::size_t i = 0; i < bodies.size(); ++i) CHECK(store.body(at(i + 1)) == bodies[i]);
}

TEST_CASE("a part of a large record takes exactly one page", "[storage][log]") {
  Store store;
  const std::string body(100'000, 'x');
  WriteBatch batch;
  batch.records.push_back(put(at(1), body));
  const std::string small(kInlineBytesMax - kRecordHeaderBytes, 'y');
  batch.records.push_back(put(at(2), small));
  REQUIRE(store.log->commit(batch));
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(store.log->env(), nullptr, MDB_RDONLY, &txn) == 0);
  MDB_stat stat{};
  mdb_stat(txn, store.log->table(), &stat);
  mdb_txn_abort(txn);
  const std::size_t chunks = chunk_count(kRecordHeaderBytes + body.size());
  CHECK(stat.ms_entries == kStoreRows + chunks + 1);
  CHECK(stat.ms_overflow_pages == chunks);  // the small one shares a leaf
}

TEST_CASE("removal takes all parts of a record and no neighbour", "[storage][log]") {
  Store store;
  const std::string large(50'000, 'x');
  WriteBatch batch;
  for (std::uint64_t lsn = 1; lsn <= 5; ++lsn)
    batch.records.push_back(put(at(lsn), lsn % 2 == 0 ? std::string_view(large) : std::string_view("small")));
  REQUIRE(store.log->commit(batch));
  WriteBatch removal;
  removal.removals = {at(2), at(3), at(5), at(99)};  // the last was never there
  REQUIRE(store.log->commit(removal));
  CHECK(store.places() == std::map<RecordPlace, std::uint32_t>{{at(1), 5}, {at(4), 50'000}});
  CHECK(store.body(at(4)) == large);
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(store.log->env(), nullptr, MDB_RDONLY, &txn) == 0);
  MDB_stat stat{};
  mdb_stat(txn, store.log->table(), &stat);
  mdb_txn_abort(txn);
  CHECK(stat.ms_entries == kStoreRows + 1 + chunk_count(kRecordHeaderBytes + large.size()));
}

TEST_CASE("records of several partitions do not mix", "[storage][log]") {
  Store store;
  WriteBatch batch;
  for (const std::uint16_t partition : std::initializer_list<std::uint16_t>{9, 0, 4}) {
    for (std::uint64_t lsn = 1; lsn <= 300; ++lsn) batch.records.push_back(put(at(lsn, partition), "body"));
  }
  REQUIRE(store.log->commit(batch));
  WriteBatch more;
  for (std::uint64_t lsn = 301; lsn <= 600; ++lsn) more.records.push_back(put(at(lsn, 4), "body"));
  REQUIRE(store.log->commit(more));
  CHECK(store.places().size() == 1200);
}

TEST_CASE("the side tables survive a restart, and rows are removed", "[storage][log]") {
  Store store;
  const ProducerKey producer{{3}, {8}, "maker"};
  const ProducerKey idle{{3}, {8}, "idle"};
  WriteBatch batch;
  const PartitionState state{{5}, {100}, {90}, {80}, true};
  const EpochTable epochs({{{2}, {1}}, {{5}, {95}}});
  batch.partitions[{3}] = state;
  batch.epochs[{3}] = epochs;
  batch.producers[producer] = {{41}, {1000}};
  batch.producers[idle] = {{1}, {1}};
  batch.returns[at(7)] = {3, {1'700'000'000'000}};
  batch.returns[at(8)] = {1, {}};
  REQUIRE(store.log->commit(batch));
  WriteBatch removal;
  removal.forgotten_producers = {idle};
  removal.returns[at(8)] = {};
  REQUIRE(store.log->commit(removal));
  const std::string identity = store.log->store_id();
  store.open();
  store.visit([](RecordPlace, const RecordHeader&) {});
  CHECK(store.partitions == std::map<PartitionId, PartitionState>{{{3}, state}});
  CHECK(store.epochs == std::map<PartitionId, EpochTable>{{{3}, epochs}});
  CHECK(store.producers == std::map<ProducerKey, ProducerState>{{producer, {{41}, {1000}}}});
  CHECK(store.returns == std::map<RecordPlace, ReturnState>{{at(7), {3, {1'700'000'000'000}}}});
  CHECK(store.log->store_id() == identity);
}

TEST_CASE("a log that is cut back loses what is behind, and nothing else", "[storage][log]") {
  Store store;
  WriteBatch batch;
  const std::string large(20'000, 'x');
  for (const std::uint16_t partition : std::initializer_list<std::uint16_t>{3, 4}) {
    for (std::uint64_t lsn = 1; lsn <= 5; ++lsn) batch.records.push_back(put(at(lsn, partition), large));
  }
  batch.returns[at(2, 3)] = {1, {}};
  batch.returns[at(4, 3)] = {1, {}};
  batch.returns[at(4, 4)] = {1, {}};
  REQUIRE(store.log->commit(batch));
  WriteBatch effects;
  effects.truncations = {at(3, 3), at(6, 4), at(1, 9)};
  WriteBatch writes;
  writes.records = {put(at(3, 3), "new")};
  REQUIRE(store.log->commit(effects, writes));
  CHECK(store.places().size() == 3 + 5);
  CHECK(store.body(at(3, 3)) == "new");
  CHECK(store.body(at(5, 4)) == large);
  CHECK(store.returns == std::map<RecordPlace, ReturnState>{{at(2, 3), {1, {}}}, {at(4, 4), {1, {}}}});
}

TEST_CASE("a scan gives the records of one partition, whole, and stops when told", "[storage][log]") {
  Store store;
  WriteBatch batch;
  const std::string large(9'000, 'x');
  batch.records = {put(at(1, 3), "a"), put(at(2, 3), large), put(at(4, 3), "d"), put(at(1, 4), "other")};
  REQUIRE(store.log->commit(batch));
  LogReader reader(*store.log);
  REQUIRE(reader.refresh());
  std::vector<std::uint64_t> lsns;
  const auto visit = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    lsns.push_back(lsn.value);
    CHECK(bytes.size() == record_bytes(record->header));
    return lsns.size() < 2 || lsn.value != 2;
  };
  CHECK(reader.scan(at(2, 3), visit));
  CHECK(lsns == std::vector<std::uint64_t>{2, 4});
  lsns.clear();
  CHECK(reader.scan(at(1, 3), visit));
  CHECK(lsns == std::vector<std::uint64_t>{1, 2});
}

TEST_CASE("a store of format 1 is read, and has the present format from then on", "[storage][log]") {
  Store store;
  std::string record(56 + 4, '\0');  // as version 1 wrote it: no producer, no sequence
  record[8] = record[9] = 1;
  record[16] = 9;
  record[52] = 4;
  record.replace(56, 4, "body");
  const std::uint64_t sum = XXH3_64bits_withSeed(record.data() + 8, record.size() - 8, 5 ^ (std::uint64_t{3} << 48));
  std::memcpy(record.data(), &sum, sizeof sum);
  const std::map<std::string, std::string> rows{
      {std::string("\0sversion", 9), std::string("1\0\0\0\1", 5)},
      {std::string("\0m\0\3", 4), std::string("1\0\0\0\7\0\0\0\0\0\0\0\6", 13)},
      {std::string("\0d\0\3\0\0\0\0\0\0\0\5", 12), std::string("1\0\0\0\2", 5)},
      {std::string("\1\0\3\0\0\0\0\0\0\0\5\0\0", 13), record}};
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(store.log->env(), nullptr, 0, &txn) == 0);
  for (const auto& [name, row] : rows) {
    MDB_val key{name.size(), const_cast<char*>(name.data())};
    MDB_val value{row.size(), const_cast<char*>(row.data())};
    REQUIRE(mdb_put(txn, store.log->table(), &key, &value, 0) == 0);
  }
  REQUIRE(mdb_txn_commit(txn) == 0);
  store.open();
  store.open();
  CHECK(store.places() == std::map<RecordPlace, std::uint32_t>{{at(5, 3), 4}});
  CHECK(store.body(at(5, 3)) == "body");
  CHECK(store.partitions == std::map<PartitionId, PartitionState>{{{3}, {{7}, {6}, {6}, {6}, false}}});
  CHECK(store.returns == std::map<RecordPlace, ReturnState>{{at(5, 3), {2, {}}}});
}

TEST_CASE("a dropped queue is known until all of its messages are removed", "[storage][log]") {
  Store store;
  WriteBatch batch;
  batch.dropped = {{{{3}, {9}}, {17}}, {{{3}, {10}}, {18}}};
  REQUIRE(store.log->commit(batch));
  batch.dropped = {{{{3}, {10}}, {}}};
  REQUIRE(store.log->commit(batch));
  store.open();
  store.places();
  CHECK(store.dropped == std::map<QueuePlace, Lsn>{{{{3}, {9}}, {17}}});
}

TEST_CASE("a producer that is forgotten and sends again in one turn stays", "[storage][log]") {
  Store store;
  const ProducerKey producer{{3}, {8}, "maker"};
  WriteBatch batch;
  batch.producers[producer] = {{41}, {1000}};
  batch.forgotten_producers = {producer};
  REQUIRE(store.log->commit(batch));
  store.visit([](RecordPlace, const RecordHeader&) {});
  CHECK(store.producers.size() == 1);
}

TEST_CASE("a full map refuses the whole batch and leaves room for removals", "[storage][log]") {
  Store store(2 << 20);
  const std::string body(4000, 'x');
  std::uint64_t lsn = 1;
  Result<void> outcome;
  while (outcome && lsn < 10'000) {
    WriteBatch batch;
    for (int i = 0; i < 10; ++i) batch.records.push_back(put(at(lsn++), body));
    outcome = store.log->commit(batch);
  }
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Errc::kInsufficientStorage);
  const std::size_t kept = store.places().size();
  CHECK(kept == lsn - 1 - 10);
  // As the quota keeps sends away from the last pages, so does this test: a removal itself needs a few.
  WriteBatch removal;
  removal.removals = {at(1)};
  CHECK(store.log->commit(removal));
  CHECK(store.places().size() == kept - 1);
}

TEST_CASE("a store is opened once at a time", "[storage][log]") {
  Store store;
  const auto second = Log::open({store.directory.path() + "/store"});
  REQUIRE_FALSE(second);
  CHECK(second.error().code == Errc::kUnavailable);
  CHECK(second.error().context.find("in use by another process") != std::string::npos);
}

TEST_CASE("a store of an unknown format is refused", "[storage][log]") {
  Store store;
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(store.log->env(), nullptr, 0, &txn) == 0);
  MDB_dbi side = 0;
  REQUIRE(mdb_dbi_open(txn, nullptr, 0, &side) == 0);
  std::string key("\0sversion", 9);
  std::string value("1\0\0\0\x63", 5);
  MDB_val k{key.size(), key.data()};
  MDB_val v{value.size(), value.data()};
  REQUIRE(mdb_put(txn, side, &k, &v, 0) == 0);
  REQUIRE(mdb_txn_commit(txn) == 0);
  store.log.reset();
  const auto opened = Log::open({store.directory.path() + "/store"});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().context.find("format 99") != std::string::npos);
}

TEST_CASE("another program's LMDB database is refused", "[storage][log]") {
  Store store;
  MDB_txn* txn = nullptr;
  REQUIRE(mdb_txn_begin(store.log->env(), nullptr, 0, &txn) == 0);
  for (std::string key : {std::string("\0sversion", 9), std::string("\0sid", 4), std::string("\0scommit", 8)}) {
    MDB_val k{key.size(), key.data()};
    REQUIRE(mdb_del(txn, store.log->table(), &k, nullptr) == 0);
  }
  std::string other = "other";
  MDB_val k{other.size(), other.data()};
  REQUIRE(mdb_put(txn, store.log->table(), &k, &k, 0) == 0);
  REQUIRE(mdb_txn_commit(txn) == 0);
  store.log.reset();
  const auto opened = Log::open({store.directory.path() + "/store"});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().context.find("no dmq store") != std::string::npos);
}

TEST_CASE("what is no store is refused with a plain message", "[storage][log]") {
  TemporaryDirectory directory;
  std::ofstream(directory.path() + "/data.mdb") << std::string(10'000, 'x');
  const auto opened = Log::open({directory.path()});
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::kInternal);
}

TEST_CASE("a damaged body is not read, its neighbours are", "[storage][log]") {
  Store store;
  WriteBatch batch;
  const std::string chunked = std::string(9000, 'c') + "TAIL-OF-A-LARGE-BODY";
  batch.records = {put(at(1), "first"), put(at(2), "DAMAGE-ME"), put(at(3), "third"), put(at(4), chunked)};
  REQUIRE(store.log->commit(batch));
  store.log.reset();
  const std::string file = store.directory.path() + "/store/data.mdb";
  REQUIRE(damage(file, "DAMAGE-ME") >= 1);
  REQUIRE(damage(file, "TAIL-OF-A-LARGE-BODY") >= 1);
  store.open();
  CHECK(store.body(at(1)) == "first");
  CHECK(store.body(at(2)) == std::nullopt);
  CHECK(store.body(at(3)) == "third");
  CHECK(store.body(at(4)) == std::nullopt);
  CHECK(store.body(at(5)) == std::nullopt);  // was never there
}

TEST_CASE("the tally of a partition stays right, whatever becomes of its records", "[storage][log]") {
  Store store;
  const std::string large(50'000, 'x');
  WriteBatch batch;
  for (const std::uint16_t partition : std::initializer_list<std::uint16_t>{3, 4}) {
    for (std::uint64_t lsn = 1; lsn <= 20; ++lsn) {
      batch.records.push_back(put(at(lsn, partition), lsn % 5 == 0 ? std::string_view(large) : "small"));
    }
  }
  REQUIRE(store.log->commit(batch));
  WriteBatch effects;
  effects.removals = {at(1, 3), at(5, 3), at(5, 3), at(99, 3), at(20, 4)};
  effects.truncations = {at(18, 3), at(1, 9)};
  WriteBatch writes;
  writes.records = {put(at(18, 3), large), put(at(7, 3), "replaced"), put(at(10, 4), "was large")};
  REQUIRE(store.log->commit(effects, writes));
  CHECK(store.counted_wrong().empty());
  store.open();
  CHECK(store.counted_wrong().empty());
  CHECK(store.body(at(7, 3)) == "replaced");
  CHECK(store.body(at(10, 4)) == "was large");
}

TEST_CASE("a record that vanishes, comes back or moves is noticed at the next start", "[storage][log]") {
  Store store;
  WriteBatch batch;
  const std::string large(9'000, 'x');
  batch.records = {put(at(1, 3), "a"), put(at(2, 3), large), put(at(4, 3), "d"), put(at(1, 4), "other")};
  REQUIRE(store.log->commit(batch));
  std::string bytes(kRecordHeaderBytes + 1, '\0');
  const unsigned table = store.log->table();
  const auto erase = [&](MDB_txn* txn, RecordPlace place, std::uint16_t chunk) {
    LogKey name = log_key(place, chunk);
    MDB_val key{name.size(), name.data()};
    return mdb_del(txn, table, &key, nullptr);
  };
  const auto write = [&](MDB_txn* txn, RecordPlace place, std::uint16_t chunk) {
    LogKey name = log_key(place, chunk);
    MDB_val key{name.size(), name.data()};
    MDB_val value{bytes.size(), bytes.data()};
    return mdb_put(txn, table, &key, &value, 0);
  };
  SECTION("it vanishes") {
    store.change([&](MDB_txn* txn) { return erase(txn, at(4, 3), 0); });
  }
  SECTION("a part of it vanishes") {
    store.change([&](MDB_txn* txn) { return erase(txn, at(2, 3), 2); });
  }
  SECTION("it comes back") {
    store.change([&](MDB_txn* txn) { return write(txn, at(3, 3), 0); });
  }
  SECTION("it moves") {
    write_record(bytes.data(), at(4, 3), put(at(4, 3), "d").record);
    store.change([&](MDB_txn* txn) { return erase(txn, at(4, 3), 0) + write(txn, at(5, 3), 0); });
  }
  SECTION("its checksum changes") {
    store.change([&](MDB_txn* txn) { return write(txn, at(4, 3), 0); });
  }
  store.open(OnDamage::kAccept);
  CHECK(store.counted_wrong() == std::set<PartitionId>{{3}});
}

TEST_CASE("what replaces a damaged record leaves none of its parts", "[storage][log]") {
  Store store;
  WriteBatch batch;
  const std::string large(9'000, 'x');
  batch.records = {put(at(1, 3), "a"), put(at(2, 3), large), put(at(3, 3), "c")};
  REQUIRE(store.log->commit(batch));
  store.change([&](MDB_txn* txn) {
    LogKey name = log_key(at(2, 3), 0x8001);
    MDB_val key{name.size(), name.data()};
    return mdb_put(txn, store.log->table(), &key, &key, 0);
  });
  store.open(OnDamage::kAccept);
  const auto damaged = [&] {
    LogReader reader(*store.log);
    REQUIRE(reader.refresh());
    int count = 0;
    REQUIRE(reader.scan(at(1, 3), [&](Lsn, std::string_view, const Result<RecordView>& record) {
      count += record ? 0 : 1;
      return true;
    }));
    return count;
  };
  CHECK(damaged() == 1);
  WriteBatch repair;
  repair.recounts.insert({3});
  SECTION("the same record") { repair.records = {put(at(2, 3), large)}; }
  SECTION("nothing") { repair.removals = {at(2, 3)}; }
  REQUIRE(store.log->commit(repair));
  CHECK(damaged() == 0);
  CHECK(store.counted_wrong().empty());
}

TEST_CASE("a store that was put back to an earlier time is noticed", "[storage][log]") {
  Store store;
  WriteBatch batch;
  batch.records = {put(at(1), "old")};
  REQUIRE(store.log->commit(batch));
  const std::string identity = store.log->store_id();
  store.log.reset();
  std::filesystem::copy_file(store.file(), store.directory.path() + "/backup");
  store.open();
  batch.records = {put(at(2), "new")};
  REQUIRE(store.log->commit(batch));
  store.log.reset();
  std::filesystem::copy_file(store.directory.path() + "/backup", store.file(),
                             std::filesystem::copy_options::overwrite_existing);
  const auto refused = Log::open({store.path()});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().context.find("older than it was") != std::string::npos);
  for (int i = 0; i < 2; ++i) {  // also the next time, as long as nothing was committed
    store.open(OnDamage::kSetAside);
    CHECK(store.log->is_old());
    CHECK(store.log->store_id() == identity);
    CHECK(store.body(at(1)) == "old");
  }
  REQUIRE(store.log->commit(batch));
  store.open();
  CHECK_FALSE(store.log->is_old());
}

TEST_CASE("a damaged store is set aside whole, and an empty one begun", "[storage][log]") {
  Store store;
  WriteBatch batch;
  batch.records = {put(at(1), "KEEP-ME")};
  REQUIRE(store.log->commit(batch));
  const std::string identity = store.log->store_id();
  store.log.reset();
  std::filesystem::resize_file(store.file(), std::filesystem::file_size(store.file()) - 4096);
  const auto refused = Log::open({store.path()});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().context.find("is damaged: ") != std::string::npos);
  CHECK(refused.error().context.find("--accept-damage") != std::string::npos);
  store.open(OnDamage::kSetAside);
  CHECK(store.log->notice().find("begins with an empty one") != std::string::npos);
  CHECK(store.log->store_id() != identity);
  CHECK_FALSE(store.log->is_old());
  CHECK(store.places().empty());
  int kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(store.path())) {
    kept += entry.path().filename().string().starts_with("damaged-") ? 1 : 0;
  }
  CHECK(kept == 1);
  store.open();
  CHECK(store.log->notice().empty());
}

TEST_CASE("a meta page that is damaged under a running worker ends its commits", "[storage][log]") {
  Store store;
  WriteBatch batch;
  batch.records = {put(at(1), "a")};
  REQUIRE(store.log->commit(batch));
  MDB_envinfo info{};
  mdb_env_info(store.log->env(), &info);
  constexpr std::streamoff kTransaction = 144;  // of a meta page
  std::fstream stream(store.file(), std::ios::in | std::ios::out | std::ios::binary);
  stream.seekp((info.me_last_txnid & 1) * 4096 + kTransaction);
  stream.put(static_cast<char>(info.me_last_txnid ^ 2));
  stream.close();
  batch.records = {put(at(2), "b")};
  const auto outcome = store.log->commit(batch);
  REQUIRE_FALSE(outcome);
  CHECK(outcome.error().code == Errc::kInternal);
}

TEST_CASE("the names of the sync modes are read back", "[storage][log]") {
  for (const SyncMode mode : {SyncMode::kCommit, SyncMode::kInterval, SyncMode::kNone}) {
    CHECK(sync_from_name(sync_name(mode)) == mode);
  }
  CHECK_FALSE(sync_from_name("always"));
}

}  // namespace dmq
