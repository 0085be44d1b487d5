// Damage of whole stores: a bit flipped anywhere is noticed at the start, or does no harm.
#include "storage/page_check.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <set>

#include "runtime/data_directory.hpp"
#include "storage/log.hpp"
#include "storage/log_reader.hpp"

namespace dmq {
namespace {

std::string content_of(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void put_content(const std::string& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

Result<PageCheck::Meta> check(const std::string& bytes) {
  return PageCheck::run(bytes, [](std::string_view, std::string_view) {});
}

// All that a start reads.
struct Image {
  std::map<RecordPlace, std::string> records;
  std::map<PartitionId, PartitionState> partitions;
  std::map<PartitionId, EpochTable> epochs;
  std::map<RecordPlace, ReturnState> returns;
  std::map<ProducerKey, ProducerState> producers;
  std::set<RecordPlace> damaged;
  std::set<PartitionId> miscounted;
};

class Store {
 public:
  // Records of all sizes in five partitions; much of it is removed again, so that the tree has been merged and the
  // list of free pages is long.
  explicit Store(std::uint64_t seed) : random_(seed) {
    auto log = Log::open({path()});
    REQUIRE(log);
    std::map<std::uint16_t, std::uint64_t> ends;
    std::vector<RecordPlace> live;
    for (int turn = 0; turn < 60; ++turn) {
      WriteBatch batch;
      std::deque<std::string> bodies;
      for (int i = 0; i < 12; ++i) {
        const auto partition = static_cast<std::uint16_t>(below(5));
        const RecordPlace place{{partition}, {++ends[partition]}};
        const std::string& body = bodies.emplace_back(below(8) == 0 ? below(30'000) : below(900), 'b');
        RecordHeader header;
        header.epoch = {1};
        header.queue = {partition + 1u};
        header.body_bytes = static_cast<std::uint32_t>(body.size());
        batch.records.push_back({place, {header, {}, {}, body}, {}});
        live.push_back(place);
        batch.partitions[{partition}] = {{1}, {place.lsn.value + 1}, {place.lsn.value + 1}, {1}, false};
        if (below(4) == 0) batch.returns[place] = {static_cast<std::uint32_t>(1 + below(9)), {}};
        batch.producers[{{partition}, {1}, "producer-" + std::to_string(below(20))}] = {{place.lsn.value}, {turn}};
      }
      while (live.size() > 80) {
        std::swap(live[below(live.size())], live.back());
        batch.removals.push_back(live.back());
        batch.returns[live.back()] = {};
        live.pop_back();
      }
      std::erase_if(batch.records, [&](const PutRecord& put) {
        return std::find(batch.removals.begin(), batch.removals.end(), put.place) != batch.removals.end();
      });
      batch.epochs[{0}] = EpochTable({{{1}, {1}}, {{2}, {9}}});
      REQUIRE((*log)->commit(batch));
    }
    log->reset();
    bytes_ = content_of(file());
    mark_ = content_of(path() + "/last-commit");
    whole_ = *read(OnDamage::kRefuse);
  }

  const std::string& bytes() const { return bytes_; }
  const Image& whole() const { return whole_; }
  std::string path() const { return directory_.path() + "/store"; }
  std::string file() const { return path() + "/data.mdb"; }
  std::size_t below(std::size_t count) { return static_cast<std::size_t>(random_() % count); }

  // The store as it was, but for one bit, or cut to `size`.
  void damage(std::size_t bit, std::size_t size = std::string::npos) {
    std::string damaged = bytes_.substr(0, size);
    if (bit / 8 < damaged.size()) damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    put_content(file(), damaged);
    put_content(path() + "/last-commit", mark_);
  }
  // Empty: it is not opened.
  std::optional<Image> read(OnDamage on_damage) {
    auto log = Log::open({path(), SyncMode::kCommit, 256 << 20, on_damage});
    if (!log) return std::nullopt;
    Image image;
    std::set<RecordPlace> places;
    LogVisitor visitor;
    visitor.partition = [&](PartitionId id, const PartitionState& state) { image.partitions[id] = state; };
    visitor.producer = [&](const ProducerKey& key, const ProducerState& state) { image.producers[key] = state; };
    visitor.epochs = [&](PartitionId id, EpochTable table) { image.epochs[id] = std::move(table); };
    visitor.returned = [&](RecordPlace place, const ReturnState& state) { image.returns[place] = state; };
    visitor.record = [&](RecordPlace place, const RecordHeader&) { places.insert(place); };
    visitor.damaged = [&](RecordPlace place, const std::string&) { image.damaged.insert(place); };
    visitor.miscounted = [&](PartitionId id) { image.miscounted.insert(id); };
    REQUIRE((*log)->visit(visitor));
    LogReader reader(**log);
    REQUIRE(reader.refresh());
    for (const RecordPlace place : places) {
      const auto record = reader.read(place);
      record ? void(image.records[place] = record->body) : void(image.damaged.insert(place));
    }
    notice = (*log)->notice();
    return image;
  }
  std::string notice;

 private:
  std::mt19937_64 random_;
  TemporaryDirectory directory_;
  std::string bytes_;
  std::string mark_;
  Image whole_;
};

// What is there is as it was, and what is not is known to be damaged.
void check_harmless(const Image& found, const Image& whole) {
  CHECK(found.partitions == whole.partitions);
  CHECK(found.epochs == whole.epochs);
  CHECK(found.returns == whole.returns);
  CHECK(found.producers == whole.producers);
  const auto noticed = [&](RecordPlace place) {
    return found.damaged.contains(place) || found.miscounted.contains(place.partition);
  };
  for (const auto& [place, body] : whole.records) {
    const auto there = found.records.find(place);
    CHECK((there == found.records.end() ? noticed(place) : there->second == body));
  }
  for (const auto& [place, body] : found.records) CHECK(whole.records.contains(place));
}

}  // namespace

TEST_CASE("the pages of a store that was used hang together", "[storage][page_check]") {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    const Store store(seed);
    const auto checked = check(store.bytes());
    CHECK(checked);
    CHECK(store.whole().records.size() > 50);
    CHECK(store.whole().damaged.empty());
    CHECK(store.whole().miscounted.empty());
    CHECK(store.notice.empty());
  }
}

TEST_CASE("a bit flipped anywhere in a store is noticed at its start, or does no harm", "[storage][page_check]") {
  const std::uint64_t seed = GENERATE(11u, 12u);
  Store store(seed);
  int refused = 0;
  int served = 0;
  for (int i = 0; i < 600; ++i) {
    // Half of them in the headers of pages and rows, where little else than LMDB's own lies.
    const std::size_t page = store.below(store.bytes().size() / PageCheck::kPageBytes);
    const std::size_t offset = i % 2 == 0 ? store.below(PageCheck::kPageBytes) : store.below(48);
    const std::size_t bit = (page * PageCheck::kPageBytes + offset) * 8 + store.below(8);
    INFO("seed " << seed << ", bit " << bit << ": page " << page << ", offset " << offset);
    store.damage(bit);
    const auto found = store.read(OnDamage::kRefuse);
    ++(found ? served : refused);
    if (found) check_harmless(*found, store.whole());
  }
  CHECK(refused > 20);
  CHECK(served > 20);
}

TEST_CASE("each bit of the meta pages counts, or does no harm", "[storage][page_check]") {
  Store store(21);
  for (std::size_t bit = 0; bit < 2 * PageCheck::kPageBytes * 8; ++bit) {
    if (bit % (PageCheck::kPageBytes * 8) >= PageCheck::kMetaBytes * 8) continue;
    INFO("bit " << bit);
    store.damage(bit);
    const auto found = store.read(OnDamage::kRefuse);
    if (found) check_harmless(*found, store.whole());
  }
}

TEST_CASE("a store that is cut short anywhere is noticed", "[storage][page_check]") {
  Store store(31);
  for (int i = 0; i < 50; ++i) {
    const std::size_t size = store.below(store.bytes().size());
    INFO("size " << size);
    store.damage(std::string::npos, size);
    const auto found = store.read(OnDamage::kRefuse);
    if (found && size != 0) check_harmless(*found, store.whole());
  }
}

}  // namespace dmq
