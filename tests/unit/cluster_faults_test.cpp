// What an operator is told about a cluster, from its catalog alone.
#include "clients/cli/cluster_faults.hpp"

#include <catch2/catch.hpp>

#include "clients/cli/cluster_view.hpp"

namespace dmq::cli {
namespace {

WorkerInfo worker(const std::string& name) {
  WorkerInfo info{.name = name, .endpoint = "tcp://" + name, .session = {1}, .alive = true, .sync = "commit"};
  info.log_endpoint = info.peer_endpoint = "tcp://" + name + "-peer";
  return info;
}

PartitionInfo partition(std::uint16_t id, const std::vector<std::string>& replicas) {
  PartitionInfo info{.id = {id}, .epoch = {1}, .version = {1}, .leader = replicas.front(), .leader_session = {1}};
  info.min_in_sync = 2;
  info.replicas = info.in_sync = replicas;
  return info;
}

// Four workers, three copies, two partitions.
CatalogSnapshot healthy() {
  CatalogSnapshot out;
  out.partitions = 2;
  out.cluster = {7, 3, 2};
  out.workers = {worker("a"), worker("b"), worker("c"), worker("d")};
  out.partition_infos = {partition(0, {"a", "b", "c"}), partition(1, {"b", "c", "d"})};
  return out;
}

std::string fault(const CatalogSnapshot& catalog) { return fault_of(catalog).value_or("none"); }

}  // namespace

TEST_CASE("a cluster whose partitions are all in sync has no fault", "[client][cli]") {
  CatalogSnapshot s = healthy();
  CHECK(fault(s) == "none");
  s.workers[0].draining = true;
  CHECK(fault(s) == "none");
  CHECK(
      to_json(*status_of(s).find("partitions")) ==
      R"({"all":2,"in_sync":2,"under_replicated":0,"below_min_in_sync":0,"without_leader":0,"moving":0,"waiting_to_move":0})");
}

TEST_CASE("a cluster without workers is told how to get one", "[client][cli]") {
  CHECK(fault(CatalogSnapshot{}) == "no worker has registered yet; start one with: dmq-storage --metad ENDPOINT");
}

TEST_CASE("the worst fault is told, with the names of those who can mend it", "[client][cli]") {
  CatalogSnapshot s = healthy();
  s.workers[0].alive = false;
  s.partition_infos[0].in_sync = {"b", "c"};
  CHECK(fault(s) ==
        "1 partition has fewer complete copies than the 3 that the cluster keeps: start 'a' again, or let the others "
        "take its place with: dmq cluster drain NAME");
  s.workers[2].alive = false;
  s.partition_infos[0].in_sync = {"b"};
  s.partition_infos[1].in_sync = {"b", "d"};
  CHECK(fault(s) ==
        "1 partition has fewer copies in sync than the 2 that a confirmation needs, so sends are refused: start 'a', "
        "'c' again");
  s.partition_infos[0].leader = "";
  s.partition_infos[0].in_sync = {};
  s.partition_infos[0].eligible = {"c"};
  CHECK(fault(s) ==
        "1 partition has no leader, so its queues are not served: start 'c' again; when that is impossible, see: dmq "
        "cluster force-leader --help");
}

TEST_CASE("a fence, too few workers and copies that are on their way are told as what they are", "[client][cli]") {
  CatalogSnapshot s = healthy();
  s.partition_infos[0].in_sync = {"b", "c"};
  const std::string begin = "1 partition has fewer complete copies than the 3 that the cluster keeps: ";
  CHECK(fault(s) == begin + "wait, copies are being made; see them with: dmq cluster partitions");
  s.workers[0].fenced_by_operator = true;
  CHECK(fault(s) == begin + "take the fence from 'a' away with: dmq cluster fence NAME --undo");
  s.workers.resize(2);
  s.workers[0].fenced_by_operator = false;
  s.partition_infos = {partition(0, {"a", "b"})};
  CHECK(fault(s) == begin + "start another worker, or keep fewer copies with: dmq cluster set --replicas N");
}

TEST_CASE("a partition that moves is complete with the copies that the cluster keeps", "[client][cli]") {
  CatalogSnapshot s = healthy();
  s.partition_infos[0].replicas.push_back("d");
  s.partition_infos[0].target = {"b", "c", "d"};
  CHECK(fault(s) == "none");
  CHECK(status_of(s).find("partitions")->number("moving") == 1);
  s.partition_infos[0].in_sync = {"a", "b"};
  CHECK(fault(s) != "none");
}

TEST_CASE("a drain that cannot end says what it waits for", "[client][cli]") {
  CatalogSnapshot s = healthy();
  s.workers[0].draining = true;
  CHECK_FALSE(drain_obstacle(s, "a"));
  s.workers[3].alive = false;
  CHECK(drain_obstacle(s, "a").value() ==
        "'a' still holds 1 partition: each is kept by 3 workers, and only 2 others can take copies; start another "
        "worker, or keep fewer copies with: dmq cluster set --replicas N");
  s.workers.push_back(worker("e"));
  CHECK(drain_obstacle(s, "a").value() ==
        "'a' still holds 1 partition, whose copies may go to 'd', which is away: start it again, or drain it as well");
  s.partition_infos[0].target = {"b", "c", "e"};
  CHECK_FALSE(drain_obstacle(s, "a"));
  s.partition_infos[0].replicas = {"b", "c", "e"};
  CHECK_FALSE(drain_obstacle(s, "a"));
}

TEST_CASE("a move that cannot arrive says why", "[client][cli]") {
  CatalogSnapshot s = healthy();
  PartitionInfo& moving = s.partition_infos[0];
  moving.target = {"b", "c", "d"};
  CHECK_FALSE(move_obstacle(s, moving));
  s.workers[3].alive = false;
  CHECK(move_obstacle(s, moving).value() ==
        "'d', where partition 0 is to go, is away or fenced: bring it back, or move partition 0 elsewhere");
  moving.leader = "";
  moving.in_sync = {};
  s.workers[0].alive = false;
  CHECK(move_obstacle(s, moving).value() == "partition 0 has no leader to copy from: start 'a' again");
}

TEST_CASE("a worker is forgotten only when it is away and holds nothing", "[client][cli]") {
  CatalogSnapshot s = healthy();
  const auto obstacle = [&](const std::string& name) { return forget_obstacle(s, name).value_or("none"); };
  CHECK(obstacle("x") == "metad knows no worker 'x'; see who is there with: dmq cluster members");
  CHECK(obstacle("a") == "'a' is alive; stop it first, and empty it before with: dmq cluster drain NAME");
  s.workers[0].alive = false;
  CHECK(obstacle("a") ==
        "'a' still holds 1 partition; let the others take its place first, with: dmq cluster drain a --wait");
  s.partition_infos[0].replicas = {"b", "c", "d"};
  CHECK(obstacle("a") == "none");
}

}  // namespace dmq::cli
