// Which partition a name falls into. These numbers decide where data lies: they may never change.
#include "protocol/partitioner.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/limits.hpp"

using namespace dmq;

TEST_CASE("the hash of a name is xxh3_64, for all time", "[protocol][partitioner]") {
  CHECK(stable_hash("") == 0x2d06800538d394c2);
  CHECK(stable_hash("a") == 0xe6c632b61e964e1f);
  CHECK(stable_hash("abc") == 0x78af5f94892f3950);
  CHECK(stable_hash("orders") == 0xa88ccdc9fa4974fb);
  CHECK(stable_hash("orders", 1) == 0x9c70b1aca36955fa);
  CHECK(stable_hash(std::string(200, 'q')) == 0x07e1ea2661299ba3);
}

TEST_CASE("a queue keeps its partition", "[protocol][partitioner]") {
  struct Row {
    std::string name;
    int of_64;
    int of_4096;
  };
  const std::vector<Row> rows{{"orders", 59, 1275},
                              {"emails", 46, 686},
                              {"a", 31, 3615},
                              {"{orders}.new", 59, 1275},
                              {"\xc3\xa9v\xc3\xa9nements", 58, 442},
                              {std::string(200, 'q'), 35, 2979}};
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(partition_of(row.name, 64).value == row.of_64);
    CHECK(partition_of(row.name, 4096).value == row.of_4096);
    CHECK(partition_of(row.name, 1).value == 0);
  }
}

TEST_CASE("the hash tag is what stands between the first braces, if anything does", "[protocol][partitioner]") {
  CHECK(hash_tag("orders") == "orders");
  CHECK(hash_tag("{orders}.new") == "orders");
  CHECK(hash_tag("eu.{orders}.new") == "orders");
  CHECK(hash_tag("{a}{b}") == "a");
  CHECK(hash_tag("{{a}}") == "{a");
  CHECK(hash_tag("{}") == "{}");
  CHECK(hash_tag("{}{a}") == "{}{a}");
  CHECK(hash_tag("{a") == "{a");
  CHECK(hash_tag("a}b{") == "a}b{");
  CHECK(hash_tag("a}{b}") == "b");
  CHECK(hash_tag("") == "");
}

TEST_CASE("queues with one tag lie together", "[protocol][partitioner]") {
  CHECK(partition_of("{orders}.new", 64) == partition_of("{orders}.done", 64));
  CHECK(partition_of("{orders}.new", 64) == partition_of("orders", 64));
}

TEST_CASE("names spread over all partitions", "[protocol][partitioner]") {
  std::vector<int> hits(kPartitionsDefault);
  for (int i = 0; i < 6400; ++i) ++hits[partition_of("queue-" + std::to_string(i), kPartitionsDefault).value];
  for (const int count : hits) CHECK((count > 50 && count < 160));
}
