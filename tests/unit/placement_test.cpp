// Where replicas belong.
#include "metad/placement.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

using namespace dmq;

namespace {

constexpr std::uint16_t kPartitions = 600;

struct Crew {
  void add(const std::string& name, const std::string& zone = "") {
    WorkerInfo worker;
    worker.name = name;
    worker.zone = zone;
    workers.push_back(worker);
  }
  std::vector<std::string> choose(std::uint16_t partition, std::size_t count) const {
    std::vector<const WorkerInfo*> candidates;
    for (const WorkerInfo& worker : workers) candidates.push_back(&worker);
    return choose_replicas(candidates, {partition}, count);
  }
  std::vector<WorkerInfo> workers;
};

}  // namespace

TEST_CASE("replicas and leaders are spread evenly over workers", "[metad][placement]") {
  Crew crew;
  for (const char* name : {"a", "b", "c", "d", "e"}) crew.add(name);
  std::map<std::string, int> leads;
  std::map<std::string, int> holds;
  for (std::uint16_t p = 0; p < kPartitions; ++p) {
    const auto replicas = crew.choose(p, 3);
    REQUIRE(std::set<std::string>(replicas.begin(), replicas.end()).size() == 3);
    ++leads[replicas.front()];
    for (const std::string& name : replicas) ++holds[name];
  }
  for (const WorkerInfo& worker : crew.workers) {
    CHECK(leads[worker.name] > kPartitions / 5 / 2);
    CHECK(holds[worker.name] > kPartitions * 3 / 5 * 3 / 4);
  }
}

TEST_CASE("a worker that comes takes only what it wins", "[metad][placement]") {
  Crew crew;
  for (const char* name : {"a", "b", "c", "d"}) crew.add(name);
  Crew more = crew;
  more.add("e");
  for (std::uint16_t p = 0; p < kPartitions; ++p) {
    const auto before = crew.choose(p, 2);
    for (const std::string& name : more.choose(p, 2)) {
      const bool was_there = std::find(before.begin(), before.end(), name) != before.end();
      CHECK((name == "e" || was_there));
    }
  }
}

TEST_CASE("replicas lie in different zones as far as there are zones", "[metad][placement]") {
  Crew crew;
  for (const char* name : {"a", "b", "c"}) crew.add(name, "north");
  crew.add("d", "south");
  crew.add("e", "east");
  for (std::uint16_t p = 0; p < kPartitions; ++p) {
    const auto three = crew.choose(p, 3);
    std::set<std::string> names(three.begin(), three.end());
    CHECK(names.contains("d"));
    CHECK(names.contains("e"));
    const auto four = crew.choose(p, 4);
    CHECK(four.size() == 4);
    CHECK(std::equal(three.begin(), three.end(), four.begin()));
  }
}

TEST_CASE("fewer workers than replicas hold one each", "[metad][placement]") {
  Crew crew;
  CHECK(crew.choose(0, 3).empty());
  crew.add("a");
  CHECK(crew.choose(0, 3) == std::vector<std::string>{"a"});
}
