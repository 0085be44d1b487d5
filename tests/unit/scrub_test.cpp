// The scrub: rounds through a store, a little at a time.
#include "storage/scrub.hpp"

#include <catch2/catch.hpp>

#include "service_script.hpp"

namespace dmq {
namespace {

struct ScrubScript {
  void put(std::uint16_t partition, std::uint64_t lsn, std::size_t body) {
    const std::string bytes(body, 'x');
    RecordHeader header;
    header.body_bytes = static_cast<std::uint32_t>(body);
    std::string& record = records.bytes[{{partition}, {lsn}}];
    record.resize(record_bytes(header));
    write_record(record.data(), {{partition}, {lsn}}, {header, {}, {}, bytes});
  }
  // Steps to the end of a round; how many.
  int round() {
    for (int steps = 1;; ++steps) {
      now = std::max(now, *scrub.due());
      last = scrub.step(
          now, {{0}, {3}, {7}}, records,
          [this](RecordPlace place, const Error&) { damaged.push_back(message_id_text(place.partition, place.lsn)); },
          [this](PartitionId partition, LogRange range) { covered[partition].push_back(range); });
      if (last) return steps;
      REQUIRE(steps < 1000);
    }
  }
  MemoryRecords records;
  static constexpr DurationMs kRoundEvery{3600 * 1000};
  Scrub scrub{100'000, kRoundEvery};
  TimeMs now{1000};
  std::optional<Scrub::Round> last;
  std::vector<std::string> damaged;
  std::map<PartitionId, std::vector<LogRange>> covered;
};

}  // namespace

TEST_CASE("the scrub reads every record of every partition and tells of the damaged ones", "[storage][scrub]") {
  ScrubScript s;
  for (std::uint64_t lsn = 1; lsn <= 100; ++lsn) s.put(lsn % 2 == 0 ? 3 : 7, lsn, 5000);
  s.records.bytes[{{3}, {50}}].back() ^= 1;
  s.records.bytes[{{7}, {99}}][8] = 9;
  const TimeMs begun = s.now;
  CHECK(s.round() > 5);
  CHECK(s.damaged == std::vector<std::string>{"3-50", "7-99"});
  CHECK(s.last->records == 100);
  CHECK(s.last->damaged == 2);
  CHECK((s.now - begun).value >= 4000);  // 500 KB at 100 KB a second, less the last step
  CHECK(*s.scrub.due() == begun + ScrubScript::kRoundEvery);
  s.damaged.clear();
  s.round();
  CHECK(s.damaged.size() == 2);
}

TEST_CASE("a scrub without a rate never reads, and an empty store is one step", "[storage][scrub]") {
  CHECK_FALSE(Scrub(0, {1000}).due());
  ScrubScript s;
  CHECK(s.round() == 1);
  CHECK(s.last->records == 0);
}

TEST_CASE("the scrub tells which ranges it has read, without a gap, and none of what is empty", "[storage][scrub]") {
  ScrubScript s;
  for (std::uint64_t lsn = 1; lsn <= 500; ++lsn) s.put(3, lsn, 5000);
  s.put(7, 4, 10);
  s.round();
  REQUIRE(s.covered.size() == 2);
  const auto& ranges = s.covered.at({3});
  REQUIRE(ranges.size() >= 3);
  CHECK(ranges.front().first == Lsn{1});
  CHECK(ranges.back().end == Lsn{UINT64_MAX});
  for (std::size_t i = 1; i < ranges.size(); ++i) CHECK(ranges[i].first == ranges[i - 1].end);
  CHECK(s.covered.at({7}) == std::vector<LogRange>{{{1}, {UINT64_MAX}}});
}

TEST_CASE("a scrub of records larger than a step makes progress", "[storage][scrub]") {
  ScrubScript s;
  for (std::uint64_t lsn = 1; lsn <= 5; ++lsn) s.put(3, lsn, 3 * Scrub::kStepBytes);
  CHECK(s.round() >= 5);
  CHECK(s.last->records == 5);
}

}  // namespace dmq
