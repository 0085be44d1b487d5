// Queues of several partitions: where their parts lie, and payloads that are taken apart and put together.
#include "protocol/parts.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "protocol/browse.hpp"
#include "protocol/merge.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/payload.hpp"
#include "protocol/queue_stats.hpp"
#include "tests/unit/hex.hpp"

namespace dmq {
using test::from_hex;
using test::to_hex;

namespace {

QueueInfo queue_of(std::uint16_t partitions, std::uint16_t key_partitions, PartitionId first = {62}) {
  QueueInfo queue{{5}, "q", first, {}, {}};
  queue.settings.partitions = partitions;
  queue.settings.key_partitions = key_partitions;
  return queue;
}

}  // namespace

TEST_CASE("parts lie in partitions side by side, around the end", "[protocol][parts]") {
  const QueueInfo queue = queue_of(4, 4);
  const std::vector<std::uint16_t> places{62, 63, 0, 1};
  for (std::uint16_t part = 0; part < 4; ++part) {
    CHECK(place_of_part(queue, part, 64) == PartitionId{places[part]});
    CHECK(part_at(queue, {places[part]}, 64) == part);
  }
  for (const unsigned other : {2u, 61u, 64u, 65535u})
    CHECK_FALSE(part_at(queue, {static_cast<std::uint16_t>(other)}, 64));
  CHECK(part_at(queue_of(64, 1), {61}, 64) == 63);
}

TEST_CASE("a key stays in its part when the queue grows", "[protocol][parts]") {
  const QueueSettings before = queue_of(4, 4).settings;
  const QueueSettings after = queue_of(9, 4).settings;
  std::set<std::uint16_t> used;
  for (int i = 0; i < 100; ++i) {
    const std::string word = "key-" + std::to_string(i);
    CHECK(part_of_key(ordering_key(word), before) == part_of_key(ordering_key(word), after));
    CHECK(part_of_word(word, before) == part_of_word(word, after));
    CHECK(part_of_key(ordering_key(word), queue_of(4, 0).settings) == 0);
    used.insert(part_of_key(ordering_key(word), before));
  }
  CHECK(used == std::set<std::uint16_t>{0, 1, 2, 3});
  CHECK(ordering_key("") == OrderingKey{});
}

TEST_CASE("each part has its share of a limit", "[protocol][parts]") {
  const QueueSettings settings = queue_of(4, 4).settings;
  CHECK(share_of(0, settings) == 0);
  CHECK(share_of(1, settings) == 1);
  CHECK(share_of(8, settings) == 2);
  CHECK(share_of(9, settings) == 3);
  CHECK(share_of(9, QueueSettings{}) == 9);
}

TEST_CASE("a move's target is a queue and one of its parts", "[protocol][parts]") {
  CHECK(move_target({7}, 0) == QueueId{7});
  const QueueId target = move_target({7}, 63);
  CHECK(target.value < std::uint64_t{1} << 53);
  CHECK(queue_of_target(target) == QueueId{7});
  CHECK(part_of_target(target) == 63);
  CHECK(part_of_target({7}) == 0);
}

TEST_CASE("an array is taken apart and put together", "[protocol][parts]") {
  for (const char* hex : {"90", "9301a16103", "dc000201a161", "dd0000000281a16101c0", "91c403000102"}) {
    const std::string bytes = from_hex(hex);
    const auto items = split_array(bytes);
    REQUIRE(items);
    std::vector<std::string> copies(items->begin(), items->end());
    const std::string joined = join_array(copies);
    const auto again = split_array(joined);
    REQUIRE(again);
    CHECK(std::equal(items->begin(), items->end(), again->begin(), again->end()));
  }
  CHECK(split_array(from_hex("9301a16103"))->at(1) == from_hex("a161"));
  for (const char* hex : {"", "01", "80", "92", "9201", "920102ff", "9101c0", "dc", "dc00", "dd000000", "ddffffffff",
                          "dc03e9", "91d40000"}) {
    INFO(hex);
    CHECK_FALSE(split_array(from_hex(hex)));
  }
  for (const char* hex : {"90", "dc0000", "dd00000000"}) CHECK(is_empty_array(from_hex(hex)));
  for (const char* hex : {"", "91c0", "80", "dd00000001"}) CHECK_FALSE(is_empty_array(from_hex(hex)));
}

TEST_CASE("results of parts are one list", "[protocol][parts]") {
  ResultWriter writer(1);
  writer.ok();
  const std::string ok = writer.finish();
  ResultWriter failing(1);
  failing.error({Errc::kUnavailable, "why"});
  const std::string failed = failing.finish();
  const std::string whole =
      join_array({std::string(split_array(ok)->front()), std::string(split_array(failed)->front())});
  MsgpackReader reader;
  const auto results = decode_results(whole, reader);
  REQUIRE(results);
  REQUIRE(results->size() == 2);
  CHECK((*results)[0].code == Errc::kOk);
  CHECK((*results)[1].code == Errc::kUnavailable);
  CHECK((*results)[1].text == "why");
}

TEST_CASE("statistics of parts are added", "[protocol][parts]") {
  QueueStats one{"q", {"w2", 3, 1, 2, 4, 100, 5}, {1000}, {500}, {100}};
  one.totals = {9, 8, 7, 6, 5};
  one.recent_ms = {10'000};
  one.recent = {1, 1, 1, 1, 1};
  QueueStats two{"q", {"w1", 30, 10, 20, 40, 1000, 50}, {1001}, {400}, {90}};
  two.totals = {90, 80, 70, 60, 50};
  two.recent_ms = {10'500};
  two.recent = {2, 2, 2, 2, 2};
  QueueStats sum{"q", {"w1, w2", 33, 11, 22, 44, 1100, 55}, {1001}, {400}, {90}};
  sum.totals = {99, 88, 77, 66, 55};
  sum.recent_ms = {10'500};
  sum.recent = {3, 3, 3, 3, 3};
  CHECK(to_hex(merge_counts({encode_queue_stats(one), encode_queue_stats(two)})) == to_hex(encode_queue_stats(sum)));
  CHECK(to_hex(merge_counts({encode_purged(3), encode_purged(4)})) == to_hex(encode_purged(7)));
  // One has no ready message, and so no oldest one.
  two.oldest_ms = {};
  sum.oldest_ms = {500};
  CHECK(to_hex(merge_counts({encode_queue_stats(one), encode_queue_stats(two)})) == to_hex(encode_queue_stats(sum)));
  CHECK(to_hex(merge_counts({encode_purged(3), "\xff"})) == to_hex(encode_purged(3)));
}

}  // namespace dmq
