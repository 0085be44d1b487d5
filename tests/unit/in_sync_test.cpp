// The in-sync and the eligible set of one partition.
#include "metad/in_sync.hpp"

#include <catch2/catch.hpp>

using namespace dmq;
using Names = std::vector<std::string>;

namespace {

PartitionInfo partition(std::uint8_t min_in_sync, Names in_sync, Names eligible = {}) {
  return {.epoch = {5},
          .version = {9},
          .min_in_sync = min_in_sync,
          .replicas = {"a", "b", "c", "d"},
          .in_sync = std::move(in_sync),
          .eligible = std::move(eligible)};
}

}  // namespace

TEST_CASE("the sets stand in the order of the replicas and hold replicas only", "[metad][in_sync]") {
  PartitionInfo info = partition(1, {"a"});
  set_in_sync(info, {"d", "x", "b", "a"});
  CHECK(info.in_sync == Names{"a", "b", "d"});
}

TEST_CASE("who leaves while enough remain is forgotten, who leaves too few is eligible", "[metad][in_sync]") {
  PartitionInfo info = partition(2, {"a", "b", "c"});
  leave_in_sync(info, {"a"});
  CHECK(info.eligible.empty());
  leave_in_sync(info, {"b"});
  CHECK(info.in_sync == Names{"c"});
  CHECK(info.eligible == Names{"b"});
  leave_in_sync(info, {"c"});
  CHECK(info.eligible == Names{"b", "c"});
  set_in_sync(info, {"c"});
  CHECK(info.eligible == Names{"b"});
  set_in_sync(info, {"c", "d"});
  CHECK(info.eligible.empty());
}

TEST_CASE("a copy that is forgotten is in neither set", "[metad][in_sync]") {
  PartitionInfo info = partition(2, {"a"}, {"b"});
  forget_copy(info, "a");
  forget_copy(info, "b");
  CHECK(info.in_sync.empty());
  CHECK(info.eligible.empty());
}

TEST_CASE("who is no replica any more is in neither set", "[metad][in_sync]") {
  PartitionInfo info = partition(3, {"a", "b"}, {"c"});
  set_replicas(info, {"d", "b"});
  CHECK(info.in_sync == Names{"b"});
  CHECK(info.eligible.empty());
}

TEST_CASE("another leader or session is a new epoch, the same is none", "[metad][in_sync]") {
  PartitionInfo info = partition(1, {"a", "b"});
  set_leader(info, "a", {3});
  CHECK(info.epoch == Epoch{6});
  set_leader(info, "a", {3});
  CHECK(info.epoch == Epoch{6});
  set_leader(info, "a", {4});
  CHECK(info.epoch == Epoch{7});
  set_leader(info, "", {});
  CHECK(info.epoch == Epoch{8});
  CHECK(info.version == PartitionVersion{9});
}

TEST_CASE("an eligible one that leads is in sync, and the others stay eligible while too few are", "[metad][in_sync]") {
  PartitionInfo info = partition(2, {}, {"a", "b", "c"});
  set_leader(info, "b", {3});
  CHECK(info.in_sync == Names{"b"});
  CHECK(info.eligible == Names{"a", "c"});
  PartitionInfo alone = partition(1, {}, {"a", "b"});
  set_leader(alone, "b", {3});
  CHECK(alone.in_sync == Names{"b"});
  CHECK(alone.eligible.empty());
}
