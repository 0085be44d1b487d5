// The replica core, rule by rule: three of them, and a metad that says what the script says.
#include "storage/replica.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

constexpr TimeMs kNow{1000};

PartitionInfo set_of(std::uint32_t epoch, std::uint64_t version, std::string leader, std::vector<std::string> in_sync) {
  PartitionInfo info{.id = {0}, .epoch = {epoch}, .version = {version}, .leader = leader};
  info.leader_session = leader.empty() ? SessionId{} : SessionId{static_cast<std::uint64_t>(leader[0])};
  info.min_in_sync = 2;
  info.replicas = {"a", "b", "c"};
  info.in_sync = std::move(in_sync);
  return info;
}

// Sessions are the letters' codes.
struct Node {
  explicit Node(const std::string& name) : replica({0}, name), session{static_cast<std::uint64_t>(name[0])} {}
  bool follow(const PartitionInfo& info) { return replica.follow(7, info, session, kNow); }
  template <class Body>
  Body last() const {
    REQUIRE_FALSE(out.sends.empty());
    return std::get<Body>(out.sends.back().message.body);
  }
  // Does what `from` sent last.
  bool hear(Node& from) {
    REQUIRE_FALSE(from.out.sends.empty());
    const PeerMessage message = from.out.sends.back().message;
    return std::visit([&](const auto& body) { return hear(message, body); }, message.body);
  }
  bool hear(const PeerMessage& message, const AppendRecords& body) { return replica.take(message, body, kNow, out); }
  bool hear(const PeerMessage& message, const FetchedRecords& body) { return replica.take(message, body, kNow, out); }
  bool hear(const PeerMessage& message, const TruncateRecords& body) {
    return replica.take(message, body, kNow) == Replica::Truncation::kCut;
  }
  bool hear(const PeerMessage& message, const SnapshotRecords& body) { return replica.take(message, body, kNow); }
  bool hear(const PeerMessage& message, const AckRecords& body) {
    replica.take(message, body, kNow, out);
    return false;
  }
  bool hear(const PeerMessage& message, const FetchRecords& body) {
    replica.take(message, body, kNow, out);
    return false;
  }
  // Not the replica core's.
  bool hear(const PeerMessage&, const RangeHash&) { return false; }
  bool hear(const PeerMessage&, const RangeDiffers&) { return false; }
  bool hear(const PeerMessage&, const TransferRecords&) { return false; }
  bool hear(const PeerMessage&, const TransferredRecords&) { return false; }
  void publish(std::uint32_t count) { out.sends.push_back(replica.publish(replica.append(count), count, kNow)); }
  void sync() { replica.on_disk(replica.end(), kNow, out); }
  // Answers the last fetch with all that there is.
  void serve() {
    REQUIRE_FALSE(out.fetches.empty());
    const FetchToServe& fetch = out.fetches.back();
    FetchedRecords answer;
    answer.nonce = fetch.fetch.nonce;
    answer.first = fetch.fetch.end;
    answer.end = answer.leader_end = replica.end_on_disk();
    answer.prev_epoch = replica.epochs().at({answer.first.value - 1});
    answer.commit = replica.commit();
    for (const EpochStart& start : replica.epochs().starts()) {
      if (start.first >= answer.first && start.first < answer.end) answer.epochs.push_back(start);
    }
    PeerMessage message = replica.message(answer);
    message.session = fetch.session;
    out.sends.push_back({fetch.to, message});
  }
  Replica replica;
  SessionId session;
  ReplicaEffects out;
};

struct Trio {
  Node a{"a"}, b{"b"}, c{"c"};
  void follow(const PartitionInfo& info) {
    for (Node* node : {&a, &b, &c}) node->follow(info);
  }
  // `follower` fetches from `leader` until it has its log.
  static void catch_up(Node& follower, Node& leader) {
    follower.replica.tick(kNow + DurationMs{1000}, follower.out);
    leader.hear(follower);
    leader.serve();
    follower.hear(leader);
    follower.sync();
    leader.hear(follower);
  }
  // a leads, b is in sync with it with three records, c has none.
  void begin_without_c() {
    follow(set_of(1, 1, "a", {"a", "b"}));
    a.replica.append(3);
    a.sync();
    catch_up(b, a);
    REQUIRE(a.replica.commit() == Lsn{4});
  }
  // a leads, all three are in sync with one record.
  void begin() {
    follow(set_of(1, 1, "a", {"a", "b", "c"}));
    a.replica.append(1);
    a.sync();
    catch_up(b, a);
    catch_up(c, a);
    REQUIRE(a.replica.commit() == Lsn{2});
  }
};

}  // namespace

TEST_CASE("only the worker in the session that metad names leads (rule 1)", "[storage][replica]") {
  Node a("a");
  PartitionInfo info = set_of(1, 1, "a", {"a"});
  info.leader_session = {1};  // an older life of the same worker
  a.follow(info);
  CHECK_FALSE(a.replica.leads());
  info.leader_session = a.session;
  info.version = {2};
  a.follow(info);
  CHECK(a.replica.leads());
}

TEST_CASE("an older version of the catalog changes nothing", "[storage][replica]") {
  Node a("a");
  a.follow(set_of(2, 5, "a", {"a"}));
  CHECK_FALSE(a.follow(set_of(3, 4, "b", {"b"})));
  CHECK(a.replica.leads());
  // Nor when a new session begins: what metad answered to a proposal is newer than the catalog's copy.
  ++a.session.value;
  CHECK_FALSE(a.follow(set_of(3, 4, "b", {"b"})));
  CHECK(a.replica.epoch() == Epoch{2});
  CHECK(a.follow(set_of(4, 5, "b", {"b"})));
}

TEST_CASE("a record is committed when all that are in sync have it on disk (rule 7)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(2);
  CHECK(t.b.hear(t.a));
  CHECK(t.c.hear(t.a));
  t.a.sync();
  CHECK(t.a.replica.commit() == Lsn{2});
  t.b.sync();
  t.a.hear(t.b);
  CHECK(t.a.replica.commit() == Lsn{2});
  t.c.sync();
  t.a.hear(t.c);
  CHECK(t.a.replica.commit() == Lsn{4});
}

TEST_CASE("the leader counts itself only after its own commit (rule 4)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  for (Node* follower : {&t.b, &t.c}) {
    follower->hear(t.a);
    follower->sync();
    const PeerSend ack = follower->out.sends.back();
    t.a.replica.take(ack.message, std::get<AckRecords>(ack.message.body), kNow, t.a.out);
  }
  CHECK(t.a.replica.commit() == Lsn{2});
  t.a.sync();
  CHECK(t.a.replica.commit() == Lsn{3});
}

TEST_CASE("with too few in sync nothing is taken and nothing committed (rules 7 and 9)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.follow(set_of(1, 2, "a", {"a"}));
  CHECK_FALSE(t.a.replica.takes_appends());
  t.a.replica.append(1);
  t.a.sync();
  CHECK(t.a.replica.commit() == Lsn{2});
}

TEST_CASE("a new leader delivers once all that it found is committed (rule 3)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  REQUIRE(t.b.hear(t.a));
  t.b.sync();
  t.follow(set_of(2, 2, "b", {"b", "c"}));
  CHECK(t.b.replica.leads());
  CHECK_FALSE(t.b.replica.delivers());
  Trio::catch_up(t.c, t.b);
  CHECK(t.b.replica.commit() == Lsn{3});
  CHECK(t.b.replica.delivers());
}

TEST_CASE("a gap is fetched and never appended (rule 5)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);  // lost
  t.a.publish(1);
  CHECK_FALSE(t.b.hear(t.a));
  CHECK(t.b.replica.end() == Lsn{2});
  CHECK(t.b.last<FetchRecords>().end == Lsn{2});
}

TEST_CASE("what was published in vain is counted, once and in its term (rule 5)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(2);  // of what was published before a worker heard the first, nobody knows
  t.a.publish(1);
  t.b.hear(t.a);
  CHECK(t.b.out.missed == 0);
  t.a.publish(3);
  t.a.publish(1);
  t.b.hear(t.a);
  t.b.hear(t.a);
  CHECK(t.b.out.missed == 3);
  const PeerMessage late = t.a.out.sends.back().message;
  t.follow(set_of(2, 2, "a", {"a", "b", "c"}));
  t.a.publish(1);
  t.a.publish(1);
  t.b.hear(t.a);
  t.b.hear(late, std::get<AppendRecords>(late.body));
  CHECK(t.b.out.missed == 3);
}

TEST_CASE("records that follow on another term's are fetched and not appended (rule 5)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.b.out.sends.clear();
  PeerMessage message = t.a.replica.message(AppendRecords{t.b.replica.end(), 1, {7}, {2}, {1}});
  CHECK_FALSE(t.b.hear(message, std::get<AppendRecords>(message.body)));
  CHECK(t.b.replica.end() == Lsn{2});
  CHECK(t.b.last<FetchRecords>().end == Lsn{2});
}

TEST_CASE("what was told before is acknowledged again (rule 5)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  REQUIRE(t.b.hear(t.a));
  t.b.sync();
  CHECK_FALSE(t.b.hear(t.a));
  CHECK(t.b.last<AckRecords>().end == Lsn{3});
}

TEST_CASE("a frame of another term, sender or session is dropped (rule 5)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  PeerMessage message = t.a.out.sends.back().message;
  const auto append = std::get<AppendRecords>(message.body);
  SECTION("term") { message.epoch = {2}; }
  SECTION("sender") { message.sender = "c"; }
  SECTION("session") { message.session = {1}; }
  CHECK_FALSE(t.b.replica.take(message, append, kNow, t.b.out));
  CHECK(t.b.replica.end() == Lsn{2});
}

TEST_CASE("a log is not appended to before it was compared with the leader's (rule 5)", "[storage][replica]") {
  Trio t;
  t.follow(set_of(1, 1, "a", {"a", "b", "c"}));
  t.a.publish(1);
  CHECK_FALSE(t.b.hear(t.a));
  CHECK(t.b.last<FetchRecords>().end == Lsn{1});
}

TEST_CASE("an answer counts once, for the outstanding fetch only (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.replica.append(1);
  t.a.sync();
  t.b.replica.tick(kNow + DurationMs{1000}, t.b.out);
  t.a.hear(t.b);
  t.a.serve();
  const PeerMessage answer = t.a.out.sends.back().message;
  t.b.replica.tick(kNow + DurationMs{2000}, t.b.out);  // asks anew
  CHECK_FALSE(t.b.hear(answer, std::get<FetchedRecords>(answer.body)));
  t.a.hear(t.b);
  t.a.serve();
  CHECK(t.b.hear(t.a));
  CHECK_FALSE(t.b.hear(t.a));
  CHECK(t.b.replica.end() == Lsn{3});
}

// Its fetch was late: meanwhile it got the records on the other way, and the leader let their control records go.
TEST_CASE("a snapshot for a log that has grown since the fetch is not taken (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  const PeerMessage first = t.a.out.sends.back().message;
  t.a.publish(1);
  t.b.hear(t.a);  // a gap
  const auto fetch = t.b.last<FetchRecords>();
  REQUIRE(fetch.end == Lsn{2});
  CHECK(t.b.hear(first, std::get<AppendRecords>(first.body)));
  PeerMessage answer = t.a.replica.message(SnapshotRecords{fetch.nonce, {1}, {3}, {3}, {{{1}, {1}}}, {}});
  answer.session = t.b.session;
  CHECK_FALSE(t.b.hear(answer, std::get<SnapshotRecords>(answer.body)));
}

// A late fetch made the leader begin another one meanwhile.
TEST_CASE("parts of two snapshots do not make one (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  const auto part = [&](Lsn first, Lsn end, Lsn stamp) {
    t.b.replica.tick(kNow + DurationMs{10'000}, t.b.out);
    PeerMessage answer =
        t.a.replica.message(SnapshotRecords{t.b.last<FetchRecords>().nonce, first, end, stamp, {}, {}});
    answer.session = t.b.session;
    const auto& body = std::get<SnapshotRecords>(answer.body);
    const bool taken = t.b.hear(answer, body);
    if (taken) t.b.replica.snapshot_taken(body, kNow);
    return taken;
  };
  REQUIRE(part({1}, {20}, {60}));
  CHECK_FALSE(part({20}, {30}, {70}));
  t.b.replica.tick(kNow + DurationMs{10'000}, t.b.out);
  CHECK(t.b.last<FetchRecords>().resume == Lsn{0});
  CHECK(part({1}, {20}, {70}));
  CHECK(part({20}, {70}, {70}));
  CHECK(t.b.replica.end() == Lsn{70});
}

TEST_CASE("a fetch without an answer is repeated, also while the leader publishes", "[storage][replica]") {
  Trio t;
  t.follow(set_of(1, 1, "a", {"a", "b", "c"}));
  for (int i = 0; i <= 3; ++i) {
    const TimeMs now = kNow + DurationMs{100 * i};
    const PeerSend heartbeat = t.a.replica.publish(t.a.replica.end(), 0, now);
    t.b.replica.take(heartbeat.message, std::get<AppendRecords>(heartbeat.message.body), now, t.b.out);
    if (t.b.replica.next_deadline() <= now) t.b.replica.tick(now, t.b.out);
  }
  CHECK(t.b.out.sends.size() == 2);
}

TEST_CASE("a deposed leader fetches only when its own tail is on disk (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  t.a.out.sends.clear();
  t.follow(set_of(2, 2, "b", {"b", "c"}));
  t.a.replica.tick(kNow + DurationMs{1000}, t.a.out);
  CHECK(t.a.out.sends.empty());
  t.a.sync();
  t.a.replica.tick(kNow + DurationMs{2000}, t.a.out);
  CHECK(t.a.last<FetchRecords>().end == Lsn{3});
}

TEST_CASE("where logs part, the follower's tail is cut off (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(2);  // reaches nobody
  t.a.sync();
  t.follow(set_of(2, 2, "b", {"b", "c"}));
  t.b.replica.append(1);
  t.b.sync();
  t.a.replica.tick(kNow + DurationMs{1000}, t.a.out);
  t.b.hear(t.a);
  CHECK(t.b.last<TruncateRecords>().end == Lsn{2});
  CHECK(t.a.hear(t.b));
  CHECK(t.a.replica.end() == Lsn{2});
  Trio::catch_up(t.a, t.b);
  CHECK(t.a.replica.end() == Lsn{3});
  CHECK(t.a.replica.epochs() == t.b.replica.epochs());
}

TEST_CASE("what is committed is not cut off for a leader that lacks it (rule 6)", "[storage][replica]") {
  Trio t;
  t.begin();
  const PeerSend heartbeat = t.a.replica.publish(t.a.replica.end(), 0, kNow);
  t.b.hear(heartbeat.message, std::get<AppendRecords>(heartbeat.message.body));  // so b knows what is committed
  Node forced("c");
  forced.follow(set_of(2, 2, "c", {"c"}));
  t.b.follow(set_of(2, 2, "c", {"c"}));
  t.b.replica.tick(kNow + DurationMs{1000}, t.b.out);
  forced.hear(t.b);
  const PeerMessage answer = forced.out.sends.back().message;
  CHECK(t.b.replica.take(answer, std::get<TruncateRecords>(answer.body), kNow) == Replica::Truncation::kDiverged);
  CHECK(t.b.replica.end() == Lsn{2});
}

TEST_CASE("a follower joins when it has all that is committed and the term's start (rule 8)", "[storage][replica]") {
  Trio t;
  t.begin_without_c();
  Trio::catch_up(t.c, t.a);
  REQUIRE(t.a.out.proposals.size() == 1);
  const AlterInSync proposal = t.a.out.proposals.back();
  CHECK(proposal.version == PartitionVersion{1});
  CHECK(proposal.in_sync == std::vector<InSyncMember>{{"a", {'a'}}, {"b", {'b'}}, {"c", {'c'}}});
  SECTION("until metad answers the joiner counts already (rule 7)") {
    t.a.publish(1);
    t.a.sync();
    t.b.hear(t.a);
    t.b.sync();
    t.a.hear(t.b);
    CHECK(t.a.replica.commit() == Lsn{4});
  }
  SECTION("the same is proposed until it is answered") {
    t.a.replica.tick(kNow + DurationMs{300}, t.a.out);
    REQUIRE(t.a.out.proposals.size() == 2);
    CHECK(t.a.out.proposals.back().in_sync == proposal.in_sync);
    t.a.follow(set_of(1, 2, "a", {"a", "b", "c"}));
    t.a.replica.tick(kNow + DurationMs{600}, t.a.out);
    CHECK(t.a.out.proposals.size() == 2);
  }
}

TEST_CASE("a copy that is being made anew joins when it is whole, whatever its end is (rule 8)", "[storage][replica]") {
  Trio t;
  t.begin_without_c();
  const auto fetch = [&](Lsn resume) {
    const PeerMessage message = t.c.replica.message(FetchRecords{1, {4}, {1}, resume, {}});
    t.a.replica.take(message, std::get<FetchRecords>(message.body), kNow, t.a.out);
  };
  fetch({1});
  fetch({3});
  CHECK(t.a.out.proposals.empty());
  fetch({});
  CHECK(t.a.out.proposals.size() == 1);
}

// A replica that is alone writes with its records that they are applied: no restart takes that back.
TEST_CASE("nobody joins a leader that was alone before having all that it wrote so far (rule 8)",
          "[storage][replica]") {
  Node a("a"), b("b");
  PartitionInfo info = set_of(1, 1, "a", {"a"});
  info.min_in_sync = 1;
  info.replicas = {"a"};
  a.follow(info);
  a.replica.append(1);
  a.sync();
  a.replica.append(2);  // on their way to the disk
  info.version = {2};
  info.replicas = {"a", "b"};
  a.follow(info);
  b.follow(info);
  Trio::catch_up(b, a);
  REQUIRE(b.replica.end() == Lsn{2});
  CHECK(a.out.proposals.empty());
  a.sync();
  CHECK(a.replica.commit() == Lsn{4});
  Trio::catch_up(b, a);
  CHECK(a.out.proposals.size() == 1);
}

TEST_CASE("who left the replicas and comes back says anew what it has (rule 8)", "[storage][replica]") {
  Trio t;
  t.begin();
  PartitionInfo info = set_of(1, 2, "a", {"a", "b"});
  info.replicas = {"a", "b"};
  t.a.follow(info);
  info.version = {3};
  info.replicas = {"a", "b", "c"};
  t.a.follow(info);
  t.a.replica.tick(kNow + DurationMs{100}, t.a.out);
  CHECK(t.a.out.proposals.empty());
  Trio::catch_up(t.c, t.a);
  CHECK(t.a.out.proposals.size() == 1);
}

TEST_CASE("a silent follower is proposed for removal, which counts once metad did it (rule 8)", "[storage][replica]") {
  Trio t;
  t.begin();
  t.a.publish(1);
  t.a.sync();
  t.b.hear(t.a);
  t.b.sync();
  const PeerSend ack = t.b.out.sends.back();
  const TimeMs later = kNow + DurationMs{Replica::kTimes.silence.value + 1};
  t.a.replica.take(ack.message, std::get<AckRecords>(ack.message.body), later, t.a.out);
  t.a.replica.tick(later, t.a.out);
  REQUIRE(t.a.out.proposals.size() == 1);
  CHECK(t.a.out.proposals.back().in_sync == std::vector<InSyncMember>{{"a", {'a'}}, {"b", {'b'}}});
  CHECK(t.a.replica.commit() == Lsn{2});
  t.a.follow(set_of(1, 2, "a", {"a", "b"}));
  CHECK(t.a.replica.commit() == Lsn{3});
}

TEST_CASE("an acknowledgement from a new session counts anew", "[storage][replica]") {
  Trio t;
  t.begin();
  PeerMessage message = t.b.replica.message(AckRecords{{1}});
  message.session = {1000};  // it restarted, with less
  t.a.replica.take(message, AckRecords{{1}}, kNow, t.a.out);
  t.a.publish(1);
  t.a.sync();
  t.c.hear(t.a);
  t.c.sync();
  t.a.hear(t.c);
  CHECK(t.a.replica.commit() == Lsn{2});
  PeerMessage old = t.b.replica.message(AckRecords{{3}});
  t.a.replica.take(old, AckRecords{{3}}, kNow, t.a.out);
  CHECK(t.a.replica.commit() == Lsn{2});
}

TEST_CASE("rule 13: a copy in doubt delivers nothing before metad has heard of it", "[storage][replica]") {
  Node a{"a"};
  a.replica.restore(EpochTable({{{1}, {1}}, {{2}, {3}}}), {5}, {5});
  a.replica.doubt();
  a.follow(set_of(3, 1, "a", {"a", "b"}));
  CHECK(a.replica.leads());
  CHECK_FALSE(a.replica.delivers());
  a.replica.tick(kNow, a.out);
  REQUIRE(a.out.reports.size() == 1);
  CHECK_FALSE(a.out.reports[0].repaired);
  a.replica.judged(kNow);
  CHECK(a.replica.delivers());
}

TEST_CASE("rule 13: a leader repeats a lost report soon, and one that was answered late", "[storage][replica]") {
  Node a{"a"};
  EpochTable table;
  table.add({1}, {1});
  a.replica.restore(table, {5}, {5});
  a.follow(set_of(3, 1, "a", {"a"}));
  a.replica.damaged(kNow);
  a.replica.tick(kNow, a.out);
  REQUIRE(a.out.reports.size() == 1);
  const TimeMs again = kNow + Replica::kTimes.retry;
  CHECK(a.replica.next_deadline() <= again);
  a.replica.tick(again, a.out);
  REQUIRE(a.out.reports.size() == 2);
  a.replica.judged(again);
  a.replica.tick(again + Replica::kTimes.retry, a.out);
  CHECK(a.out.reports.size() == 2);
  a.replica.tick(again + Replica::kTimes.report, a.out);
  CHECK(a.out.reports.size() == 3);
  a.replica.judged(again + Replica::kTimes.report);
  a.replica.follow(7, set_of(3, 2, "a", {"a", "b"}), a.session, again + Replica::kTimes.report);
  a.replica.tick(again + Replica::kTimes.report, a.out);
  CHECK(a.out.reports.size() == 4);  // another has come: metad may do without this copy
}

}  // namespace dmq
