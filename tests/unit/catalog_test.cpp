// The catalog's codecs, and the cached copy of it.
#include <catch2/catch.hpp>

#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

using namespace dmq;

namespace {

QueueInfo queue(std::uint64_t id, std::string name) {
  return {QueueId{id},
          std::move(name),
          PartitionId{static_cast<std::uint16_t>(id)},
          TimeMs{1700000000000},
          {DurationMs{5000}}};
}

// Two of three workers are in sync, and the partition moves on to a fourth.
PartitionInfo partition(std::uint16_t id) {
  return {.id = {id},
          .epoch = {7},
          .version = {31},
          .leader = "w1",
          .leader_session = {9},
          .min_in_sync = 2,
          .replicas = {"w1", "w2", "w3", "w4"},
          .target = {"w1", "w2", "w4"},
          .in_sync = {"w1", "w2"},
          .eligible = {"w3"},
          .unclean = {"w4"},
          .pinned = true};
}

WorkerInfo worker(std::string name) {
  return {.name = std::move(name),
          .endpoint = "tcp://127.0.0.1:5",
          .session = {9},
          .alive = true,
          .sync = "commit",
          .zone = "cellar",
          .log_endpoint = "tcp://127.0.0.1:6",
          .peer_endpoint = "tcp://127.0.0.1:7",
          .store_id = "0123456789abcdef0123456789abcdef",
          .draining = true,
          .fenced_by_operator = true};
}

CatalogSnapshot some_snapshot() {
  CatalogSnapshot snapshot;
  snapshot.generation = 3;
  snapshot.version = {41};
  snapshot.partitions = 8;
  snapshot.queues = {queue(1, "orders"), queue(4, "größe")};
  snapshot.deleted = {QueueId{2}, QueueId{3}};
  snapshot.partition_infos = {partition(1), {.id = {2}}};
  snapshot.workers = {worker("w1"), WorkerInfo{"w2", "inproc://w2", SessionId{3}, false, "none"}};
  snapshot.cluster = {std::uint64_t{1} << 53, 3, 2};
  snapshot.waiting = 17;
  return snapshot;
}

CatalogUpdate update(std::uint64_t before, std::uint64_t version, std::vector<CatalogChange> changes) {
  return {3, {before}, {version}, std::move(changes)};
}

void check_equal(const CatalogSnapshot& a, const CatalogSnapshot& b) {
  CHECK(a.generation == b.generation);
  CHECK(a.version == b.version);
  CHECK(a.partitions == b.partitions);
  CHECK(a.queues == b.queues);
  CHECK(a.deleted == b.deleted);
  CHECK(a.partition_infos == b.partition_infos);
  CHECK(a.workers == b.workers);
  CHECK(a.cluster == b.cluster);
  CHECK(a.waiting == b.waiting);
}

template <class Body>
Body request_there_and_back(const Body& body) {
  MsgpackReader reader;
  const auto read = decode_metad_request(encode_metad_request({77, body}), reader);
  REQUIRE(read);
  CHECK(read->id == 77);
  REQUIRE(std::holds_alternative<Body>(read->body));
  return std::get<Body>(read->body);
}

template <class Body>
Body reply_there_and_back(const Body& body) {
  MsgpackReader reader;
  const auto read = decode_metad_reply(encode_metad_reply({78, body}), reader);
  REQUIRE(read);
  CHECK(read->id == 78);
  REQUIRE(std::holds_alternative<Body>(read->body));
  return std::get<Body>(read->body);
}

template <class Decode>
void every_prefix_is_refused(const std::string& bytes, Decode decode) {
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    INFO("the first " << size << " of " << bytes.size() << " bytes");
    CHECK_FALSE(decode(std::string_view(bytes).substr(0, size)));
  }
  CHECK_FALSE(decode(bytes + '\0'));
}

}  // namespace

TEST_CASE("a snapshot is read as it was written", "[protocol][catalog]") {
  MsgpackReader reader;
  const auto read = decode_snapshot(encode_snapshot(some_snapshot()), reader);
  REQUIRE(read);
  check_equal(*read, some_snapshot());
}

TEST_CASE("an update is read as it was written", "[protocol][catalog]") {
  MsgpackReader reader;
  const CatalogUpdate given = update(4, 8,
                                     {queue(1, "a"), QueueDeleted{QueueId{1}, "a"}, partition(5), worker("w"),
                                      ClusterInfo{12, 7, 4}, WorkerForgotten{"v"}});
  const auto read = decode_update(encode_update(given), reader);
  REQUIRE(read);
  CHECK(read->generation == 3);
  CHECK(read->before == CatalogVersion{4});
  CHECK(read->version == CatalogVersion{8});
  CHECK(read->changes == given.changes);
}

TEST_CASE("requests to metad are read as they were written", "[protocol][catalog]") {
  const auto member = request_there_and_back(RegisterMember{RegisterMember::Role::kWorker, "w1", "tcp://h:1", "commit",
                                                            "cellar", "tcp://h:2", "tcp://h:3", "ab12", false});
  CHECK(member.role == RegisterMember::Role::kWorker);
  CHECK(member.name == "w1");
  CHECK(member.endpoint == "tcp://h:1");
  CHECK(member.sync == "commit");
  CHECK(member.zone == "cellar");
  CHECK(member.log_endpoint == "tcp://h:2");
  CHECK(member.peer_endpoint == "tcp://h:3");
  CHECK(member.store_id == "ab12");
  CHECK_FALSE(member.clean);
  CHECK(request_there_and_back(RegisterMember{RegisterMember::Role::kRouter, "r", "", ""}).clean);
  CHECK(request_there_and_back(MemberHeartbeat{SessionId{12}}).session == SessionId{12});
  request_there_and_back(GetSnapshot{});
  const auto create = request_there_and_back(CreateQueue{"q", {DurationMs{700}}, true});
  CHECK(create.name == "q");
  CHECK(create.settings.lease_ms == DurationMs{700});
  CHECK(create.only_if_absent);
  QueueSettings settings{DurationMs{700}};
  settings.delay_ms = DurationMs{1};
  settings.ttl_ms = DurationMs{2};
  settings.priority_weights.fill(3);
  settings.pause_send = settings.pause_receive = true;
  const auto update = request_there_and_back(UpdateQueue{"q", 4, settings});
  CHECK(update.name == "q");
  CHECK(update.version == 4);
  CHECK(update.settings == settings);
  CHECK(request_there_and_back(DeleteQueue{"q"}).name == "q");
}

TEST_CASE("what a leader asks of metad is read as it was written", "[protocol][catalog]") {
  const auto alter = request_there_and_back(
      AlterInSync{SessionId{5}, PartitionId{6}, Epoch{7}, PartitionVersion{8}, {{"a", SessionId{5}}, {"b", {4}}}});
  CHECK(alter.session == SessionId{5});
  CHECK(alter.partition == PartitionId{6});
  CHECK(alter.epoch == Epoch{7});
  CHECK(alter.version == PartitionVersion{8});
  CHECK(alter.in_sync == std::vector<InSyncMember>{{"a", SessionId{5}}, {"b", SessionId{4}}});
  const auto resign = request_there_and_back(ResignLeader{SessionId{5}, PartitionId{6}, Epoch{7}});
  CHECK(resign.session == SessionId{5});
  CHECK(resign.partition == PartitionId{6});
  CHECK(resign.epoch == Epoch{7});
  const auto unclean = request_there_and_back(ReportUnclean{SessionId{5}, PartitionId{6}, true, PartitionVersion{7}});
  CHECK(unclean.session == SessionId{5});
  CHECK(unclean.partition == PartitionId{6});
  CHECK(unclean.repaired);
  CHECK(unclean.version == PartitionVersion{7});
}

TEST_CASE("what an operator asks of metad is read as it was written", "[protocol][catalog]") {
  const auto set = request_there_and_back(SetCluster{3, 2});
  CHECK(set.replication_factor == 3);
  CHECK(set.min_in_sync == 2);
  for (const bool on : {true, false}) {
    CHECK(request_there_and_back(DrainWorker{"w", on}).name == "w");
    CHECK(request_there_and_back(DrainWorker{"w", on}).on == on);
    CHECK(request_there_and_back(FenceWorker{"w", on}).name == "w");
    CHECK(request_there_and_back(FenceWorker{"w", on}).on == on);
    CHECK(request_there_and_back(ForceLeader{PartitionId{6}, "w", on}).accept_loss == on);
  }
  const auto move = request_there_and_back(MovePartition{PartitionId{6}, {"b", "a"}});
  CHECK(move.partition == PartitionId{6});
  CHECK(move.replicas == std::vector<std::string>{"b", "a"});
  const auto force = request_there_and_back(ForceLeader{PartitionId{6}, "w", true});
  CHECK(force.partition == PartitionId{6});
  CHECK(force.worker == "w");
  CHECK(request_there_and_back(ForgetWorker{"w"}).name == "w");
}

TEST_CASE("a request that is wrong can be answered when it has an id", "[protocol][catalog]") {
  MsgpackReader reader;
  const std::string of_the_future =
      "\x83\xa2id\x07\xa2op\xa6sing_a\xa4"
      "body\x80";
  CHECK(decode_metad_request(of_the_future, reader).error().code == Errc::kUnknownOp);
  CHECK(metad_request_id(of_the_future, reader) == 7);
  const std::string without_a_body =
      "\x82\xa2id\xcd\x01\x02\xa2op\xa6"
      "delete";
  CHECK(decode_metad_request(without_a_body, reader).error().code == Errc::kMalformed);
  CHECK(metad_request_id(without_a_body, reader) == 258);
  for (const std::string nothing : {"", "hello", "\x80", "\x81\xa2id\xa1x", "\x81\xa2id\xff", "\x92\xa2id\x07"}) {
    INFO(nothing);
    CHECK_FALSE(decode_metad_request(nothing, reader));
    CHECK_FALSE(metad_request_id(nothing, reader));
  }
}

TEST_CASE("replies of metad are read as they were written", "[protocol][catalog]") {
  CHECK(reply_there_and_back(Error{Errc::kQueueExists, "no"}) == Error{Errc::kQueueExists, "no"});
  const auto registered = reply_there_and_back(Registered{SessionId{5}, "inproc://f", 250, 5, 3, CatalogVersion{41}});
  CHECK(registered.session == SessionId{5});
  CHECK(registered.feed_endpoint == "inproc://f");
  CHECK(registered.heartbeat_ms == 250);
  CHECK(registered.missed_heartbeats == 5);
  CHECK(registered.generation == 3);
  CHECK(registered.floor == CatalogVersion{41});
  reply_there_and_back(Done{});
  check_equal(reply_there_and_back(some_snapshot()), some_snapshot());
  CHECK(reply_there_and_back(queue(6, "six")) == queue(6, "six"));
  CHECK(reply_there_and_back(QueueDeleted{QueueId{6}, "six"}) == QueueDeleted{QueueId{6}, "six"});
  CHECK(reply_there_and_back(partition(4)) == partition(4));
  CHECK(reply_there_and_back(ClusterInfo{9, 3, 2}) == ClusterInfo{9, 3, 2});
  CHECK(reply_there_and_back(WorkerLoad{4, 17}) == WorkerLoad{4, 17});
  CHECK(reply_there_and_back(WorkerForgotten{"w"}) == WorkerForgotten{"w"});
}

TEST_CASE("what is cut short or has bytes behind it is refused", "[protocol][catalog]") {
  MsgpackReader reader;
  every_prefix_is_refused(encode_snapshot(some_snapshot()), [&](auto bytes) { return decode_snapshot(bytes, reader); });
  every_prefix_is_refused(encode_update(update(1, 2, {queue(1, "a")})),
                          [&](auto bytes) { return decode_update(bytes, reader); });
  every_prefix_is_refused(encode_metad_request({1, CreateQueue{"q", {}, false}}),
                          [&](auto bytes) { return decode_metad_request(bytes, reader); });
  every_prefix_is_refused(encode_metad_request({1, AlterInSync{{1}, {2}, {3}, {4}, {{"a", {5}}, {"b", {6}}}}}),
                          [&](auto bytes) { return decode_metad_request(bytes, reader); });
  every_prefix_is_refused(encode_metad_reply({1, some_snapshot()}),
                          [&](auto bytes) { return decode_metad_reply(bytes, reader); });
}

TEST_CASE("an array that claims more items than there are bytes is refused without the memory", "[protocol][catalog]") {
  MsgpackReader reader;
  CHECK_FALSE(decode_snapshot("\x81\xa6queues\xdd\xff\xff\xff\xff", reader));
}

TEST_CASE("unknown keys and kinds of change are ignored, missing keys get defaults", "[protocol][catalog]") {
  MsgpackReader reader;
  // {"version": 2, "colour": 5, "changes": [{"weather": {}}, {"queue": {"id": 1, "name": "a", "x": 1}}]}
  using namespace std::string_literals;
  const auto read = decode_update(
      "\x83\xa7version\x02\xa6"
      "colour\x05\xa7"
      "changes\x92\x81\xa7"
      "weather\x80\x81\xa5queue\x83\xa2id\x01\xa4name\xa1"
      "a\xa1x\x01"s,
      reader);
  REQUIRE(read);
  CHECK(read->before == CatalogVersion{0});
  REQUIRE(read->changes.size() == 1);
  const auto& found = std::get<QueueInfo>(read->changes.front());
  CHECK(found.name == "a");
  CHECK(found.settings == QueueSettings{});
}

TEST_CASE("a value of the wrong type or out of range is malformed", "[protocol][catalog]") {
  MsgpackReader reader;
  const auto code = [&](std::string_view bytes) {
    const auto read = decode_update(bytes, reader);
    REQUIRE_FALSE(read);
    return read.error().code;
  };
  CHECK(code("\x81\xa7version\xa1"
             "2") == Errc::kMalformed);
  CHECK(code("\x81\xa7"
             "changes\x80") == Errc::kMalformed);
  CHECK(code("\x81\xa7"
             "changes\x91\x01") == Errc::kMalformed);
  CHECK(code("\x81\xa7"
             "changes\x91\x81\xa5queue\x81\xa2id\x01") == Errc::kMalformed);  // no name
  CHECK(code("\x81\xa7"
             "changes\x91\x81\xa9partition\x81\xa2id\xcd\xff\xff") == Errc::kMalformed);  // 65535
  CHECK(code("\x93\x01\x02\x03") == Errc::kMalformed);
}

TEST_CASE("more names than a partition can have replicas are malformed, and so is an empty one",
          "[protocol][catalog]") {
  MsgpackReader reader;
  const auto decode = [&](std::vector<std::string> names) {
    return decode_metad_request(encode_metad_request({1, MovePartition{PartitionId{1}, std::move(names)}}), reader);
  };
  CHECK(decode(std::vector<std::string>(kReplicasMax, "w")));
  CHECK(decode(std::vector<std::string>(kReplicasMax + 1, "w")).error().code == Errc::kMalformed);
  CHECK(decode({"a", ""}).error().code == Errc::kMalformed);
  CHECK(decode({std::string(201, 'w')}).error().code == Errc::kMalformed);
  const std::vector<InSyncMember> crowd(kReplicasMax + 1, {"w", {1}});
  CHECK_FALSE(decode_metad_request(encode_metad_request({1, AlterInSync{{1}, {2}, {3}, {4}, crowd}}), reader));
  CHECK_FALSE(decode_metad_request(encode_metad_request({1, AlterInSync{{1}, {2}, {3}, {4}, {{"", {1}}}}}), reader));
}

TEST_CASE("a request with an unknown op says so", "[protocol][catalog]") {
  MsgpackReader reader;
  const auto unknown = decode_metad_request(
      "\x82\xa2op\xa4sing\xa4"
      "body\x80",
      reader);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Errc::kUnknownOp);
}

TEST_CASE("an empty copy takes no update, only a snapshot", "[protocol][catalog]") {
  CatalogCopy copy;
  CHECK(copy.empty());
  CHECK(copy.apply(update(0, 1, {queue(1, "a")})) == CatalogCopy::Applied::kGap);
  CHECK(copy.find_queue("a") == nullptr);
  copy.apply(some_snapshot());
  CHECK_FALSE(copy.empty());
  REQUIRE(copy.find_queue("orders") != nullptr);
  CHECK(copy.find_queue(QueueId{4})->name == "größe");
  CHECK(copy.is_deleted(QueueId{2}));
  CHECK(copy.find_partition(PartitionId{1})->leader == "w1");
  CHECK(copy.find_partition(PartitionId{7})->leader.empty());
  CHECK(copy.find_partition(PartitionId{8}) == nullptr);
  CHECK(copy.find_worker("w1")->session == SessionId{9});
  CHECK(copy.cluster().replication_factor == 3);
  CHECK(copy.apply(update(41, 42, {ClusterInfo{1, 5, 3}})) == CatalogCopy::Applied::kDone);
  CHECK(copy.cluster() == ClusterInfo{1, 5, 3});
}

TEST_CASE("a copy follows updates, drops old ones and reports a gap", "[protocol][catalog]") {
  CatalogCopy copy;
  copy.apply(some_snapshot());
  CHECK(copy.apply(update(40, 41, {queue(9, "old")})) == CatalogCopy::Applied::kOld);
  CHECK(copy.find_queue("old") == nullptr);
  CHECK(copy.apply(update(42, 43, {queue(9, "gap")})) == CatalogCopy::Applied::kGap);
  CHECK(copy.find_queue("gap") == nullptr);
  CHECK(copy.version() == CatalogVersion{41});
  CHECK(copy.apply(update(41, 43, {queue(5, "new"), QueueDeleted{QueueId{1}, "orders"}})) ==
        CatalogCopy::Applied::kDone);
  CHECK(copy.version() == CatalogVersion{43});
  CHECK(copy.find_queue("new")->id == QueueId{5});
  CHECK(copy.find_queue("orders") == nullptr);
  CHECK(copy.find_queue(QueueId{1}) == nullptr);
  CHECK(copy.is_deleted(QueueId{1}));
}

TEST_CASE("an empty update tells of a lost tail", "[protocol][catalog]") {
  CatalogCopy copy;
  copy.apply(some_snapshot());
  CHECK(copy.apply(update(41, 41, {})) == CatalogCopy::Applied::kOld);
  CHECK(copy.apply(update(44, 44, {})) == CatalogCopy::Applied::kGap);
}

TEST_CASE("an update around a snapshot's version ends in the update's state", "[protocol][catalog]") {
  CatalogCopy copy;
  CatalogSnapshot middle = some_snapshot();
  middle.queues = {queue(6, "a")};  // created, deleted and created again; the update says how
  copy.apply(middle);
  CHECK(copy.apply(update(38, 43, {queue(5, "a"), QueueDeleted{QueueId{5}, "a"}, queue(6, "a"), queue(7, "b")})) ==
        CatalogCopy::Applied::kDone);
  CHECK(copy.find_queue("a")->id == QueueId{6});
  CHECK(copy.find_queue(QueueId{5}) == nullptr);
  CHECK(copy.find_queue(QueueId{6})->name == "a");
  CHECK(copy.find_queue("b")->id == QueueId{7});
}

TEST_CASE("another generation is a gap when newer and old when older", "[protocol][catalog]") {
  CatalogCopy copy;
  copy.apply(some_snapshot());
  CatalogUpdate next = update(41, 42, {queue(9, "x")});
  next.generation = 4;
  CHECK(copy.apply(next) == CatalogCopy::Applied::kGap);
  next.generation = 2;
  CHECK(copy.apply(next) == CatalogCopy::Applied::kOld);
  CHECK(copy.find_queue("x") == nullptr);
}

TEST_CASE("a copy forgets the workers that metad forgets", "[protocol][catalog]") {
  CatalogCopy copy;
  copy.apply(some_snapshot());
  const CatalogVersion before = copy.version();
  const CatalogVersion after{before.value + 2};
  CHECK(copy.apply(CatalogUpdate{copy.generation(), before, after, {worker("new"), WorkerForgotten{"new"}}}) ==
        CatalogCopy::Applied::kDone);
  CHECK(copy.find_worker("new") == nullptr);
  CHECK(copy.version() == after);
}
