// Who leads and who is in sync: rules 1, 2, 8, 11 and 13 of replication, one by one, and each refusal.
#include "controller_script.hpp"

using namespace dmq;

// --- rule 1: register ----------------------------------------------------------------------------------------------

TEST_CASE("rule 1: who registers again leads only by an election in the new session", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const SessionId before = s.session("a");
  CHECK(s.state() == "a+0 [a b c]");
  s.come("a");
  CHECK(s.state() == "b+1 [b c]");
  CHECK(s.session("a") > before);
  CHECK(s.info().leader_session == s.session("b"));
}

TEST_CASE("rule 1: the worker with the only copy leads again, in its new session and a new epoch",
          "[metad][controller]") {
  ReplicaScript s("a", 1);
  s.come("a");
  CHECK(s.state() == "a+1 [a]");
  CHECK(s.info().leader_session == s.session("a"));
}

TEST_CASE("rule 1: a store that is not clean is not eligible", "[metad][controller]") {
  ReplicaScript s("ab", 2);
  s.lose("b");
  CHECK(s.state() == "a+0 [a] (b)");
  s.come(ReplicaScript::member("b", false));
  CHECK(s.state() == "a+0 [a] -b");
  s.lose("a");
  CHECK(s.state() == "nobody+1 [] (a) -b");
}

TEST_CASE("rule 1: another store under the same name is not clean", "[metad][controller]") {
  ReplicaScript s("a", 1);
  s.come(ReplicaScript::member("a", true, "a new disk"));
  CHECK(s.state() == "nobody+1 []");
  s.come(ReplicaScript::member("a", true, "a new disk"));  // the same again does not bring the data back
  CHECK(s.state() == "nobody+1 []");
}

TEST_CASE("rule 1: an unclean leader is replaced by one that is in sync", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.come(ReplicaScript::member("a", false));
  CHECK(s.state() == "b+1 [b] -a");
}

TEST_CASE("rule 1: a registration tells the version below which nothing is applied", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  const auto reply = std::get<Registered>(s.ask(ReplicaScript::member("a")));
  CHECK(reply.floor == s.controller().counters().version);
  CHECK(reply.generation == s.controller().counters().generation);
  CHECK(reply.missed_heartbeats == 3);
}

// --- rule 2: elect -------------------------------------------------------------------------------------------------

TEST_CASE("rule 2: the first in-sync replica by preference is elected", "[metad][controller]") {
  ReplicaScript s("abc", 1);
  s.lose("a");
  CHECK(s.state() == "b+1 [b c]");
  s.lose("b");
  CHECK(s.state() == "c+2 [c]");
}

TEST_CASE("rule 2: a follower that is lost leaves the in-sync set in a new version, not a new epoch",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const PartitionVersion before = s.info().version;
  s.lose("c");
  CHECK(s.state() == "a+0 [a b]");
  CHECK(s.info().version.value == before.value + 1);
}

TEST_CASE("rule 2: who leaves below min_in_sync stays eligible, until enough are in sync again",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("c");
  s.lose("b");
  CHECK(s.state() == "a+0 [a] (b)");
  s.come("c");
  CHECK(s.join("ac") == "a+0 [a c]");
}

TEST_CASE("rule 2: several that are lost at once below min_in_sync are all eligible", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("bc");
  CHECK(s.state() == "a+0 [a] (b c)");
}

TEST_CASE("rule 2: with nobody in sync an eligible one is elected, and the others stay eligible",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("c");
  s.lose("b");
  s.lose("a");
  CHECK(s.state() == "nobody+1 [] (a b)");
  s.come("c");
  CHECK(s.state() == "nobody+1 [] (a b)");  // it may miss what a and b confirmed together
  s.come("b");
  CHECK(s.state() == "b+2 [b] (a)");
  CHECK(s.info().leader_session == s.session("b"));
}

TEST_CASE("rule 2: nobody leads when nobody can, and the epoch grows once for that", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.lose("ab");
  CHECK(s.state() == "nobody+1 [] (a b)");
  CHECK(s.info().leader_session == SessionId{0});
  const PartitionInfo before = s.info();
  s.pass(5'000);
  CHECK(s.info() == before);
}

TEST_CASE("rule 2: a worker that an operator fences loses its place and keeps its session", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const SessionId session = s.session("a");
  CHECK(s.fence("a") == "b+1 [b c]");
  CHECK(s.session("a") == session);
  CHECK(s.join("bca") == "b+1 [b c]");  // not while it is fenced
  CHECK(s.fence("a", false) == "b+1 [b c]");
  CHECK(s.join("bca") == "b+1 [a b c]");
}

TEST_CASE("rule 2: a fenced worker with the only copy leads again when the fence is taken away",
          "[metad][controller]") {
  ReplicaScript s("a", 1);
  CHECK(s.fence("a") == "nobody+1 [] (a)");
  s.come("a");  // the fence outlasts a restart
  CHECK(s.state() == "nobody+1 [] (a)");
  CHECK(s.fence("a", false) == "a+2 [a]");
}

TEST_CASE("a fence answers what the worker leads and holds, and a name that is unknown is refused",
          "[metad][controller]") {
  ReplicaScript s("ab", 1);
  CHECK(std::get<WorkerLoad>(s.ask(FenceWorker{"a", true})) == WorkerLoad{0, 1});
  CHECK(std::get<WorkerLoad>(s.ask(FenceWorker{"b", false})) == WorkerLoad{1, 1});
  CHECK(s.refusal(FenceWorker{"x", true}) == "invalid_argument: metad knows no worker 'x'");
  CHECK(s.refusal(DrainWorker{"x", true}) == "invalid_argument: metad knows no worker 'x'");
}

TEST_CASE("rule 2: a lower minimum ends eligibility at once, a higher one begins with the next loss",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("bc");
  CHECK(s.state() == "a+0 [a] (b c)");
  CHECK(std::get<ClusterInfo>(s.ask(SetCluster{3, 1})) == ClusterInfo{77, 3, 1});
  CHECK(s.state() == "a+0 [a]");
  CHECK(s.info().min_in_sync == 1);
  const PartitionVersion before = s.info().version;
  s.ask(SetCluster{3, 3});
  CHECK(s.state() == "a+0 [a]");
  CHECK(s.info().min_in_sync == 3);
  CHECK(s.info().version > before);
}

TEST_CASE("a replication factor of 0 or over 7, and a minimum over it, are refused", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  for (const SetCluster bad : {SetCluster{0, 0}, SetCluster{3, 0}, SetCluster{2, 3}, SetCluster{8, 1}}) {
    CHECK(s.refusal(bad).starts_with("invalid_argument"));
  }
  CHECK(std::get<ClusterInfo>(s.ask(SetCluster{3, 2})) == ClusterInfo{77, 3, 2});
  CHECK(s.last().changes.empty());
}

// --- rule 8: changes of the in-sync set ----------------------------------------------------------------------------

TEST_CASE("rule 8: the leader changes the in-sync set, and asking again answers the same", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const AlterInSync shrink = s.proposal("ab");
  CHECK(s.alter(shrink) == "a+0 [a b]");
  CHECK(s.info().version.value == shrink.version.value + 1);
  CHECK(s.alter(shrink) == "a+0 [a b]");
  CHECK(s.last().changes.empty());
  CHECK(s.join("abc") == "a+0 [a b c]");
}

TEST_CASE("rule 8: a proposal of another version, epoch or session changes nothing", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const AlterInSync good = s.proposal("ab");
  AlterInSync late = good;
  --late.version.value;
  CHECK(s.alter(late) == "a+0 [a b c]");
  AlterInSync other_term = good;
  ++other_term.epoch.value;
  CHECK(s.alter(other_term) == "a+0 [a b c]");
  AlterInSync other_session = good;
  other_session.session = s.session("b");
  CHECK(s.alter(other_session) == "a+0 [a b c]");
  s.lose("c");  // the version is another now
  CHECK(s.alter(good) == "a+0 [a b]");
  CHECK(s.last().changes.empty());
}

TEST_CASE("rule 8: a deposed leader changes nothing, and hears who leads", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const AlterInSync old = s.proposal("ab");
  s.lose("a");
  CHECK(s.alter(old) == "b+1 [b c]");
  CHECK(s.last().changes.empty());
}

TEST_CASE("rule 8: without a leader nobody changes the in-sync set", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.lose("ab");
  AlterInSync forged = s.proposal("ab");
  CHECK(forged.session == SessionId{0});
  CHECK(s.alter(forged) == "nobody+1 [] (a b)");
}

TEST_CASE("rule 8: who joins is unfenced, in its current session, and a replica", "[metad][controller]") {
  ReplicaScript s("abc", 1);
  s.lose("c");
  CHECK(s.join("abc") == "a+0 [a b]");  // it is away
  const AlterInSync before_it_returns = s.proposal("abc");
  s.come("c");
  CHECK(s.alter(before_it_returns) == "a+0 [a b]");  // the leader saw it in an older session
  CHECK(s.join("abc") == "a+0 [a b c]");
  s.come("d");
  CHECK(s.join("abcd") == "a+0 [a b c]");  // no replica
  CHECK(s.join("abcx") == "a+0 [a b c]");  // nobody
}

TEST_CASE("rule 8: a proposal that was refused never succeeds later", "[metad][controller]") {
  ReplicaScript s("abc", 1);
  s.fence("c");
  const AlterInSync sent_twice = s.proposal("abc");
  CHECK(s.alter(sent_twice) == "a+0 [a b]");
  CHECK(s.info().version.value == sent_twice.version.value + 1);
  s.fence("c", false);
  CHECK(s.alter(sent_twice) == "a+0 [a b]");  // its leader does not wait for c any more
  CHECK(s.join("abc") == "a+0 [a b c]");
}

TEST_CASE("rule 8: the in-sync set is never without its leader, nor names a worker twice", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  CHECK(s.refusal(s.proposal("bc")).starts_with("invalid_argument: a leader proposes an in-sync set without itself"));
  CHECK(s.refusal(s.proposal("")).starts_with("invalid_argument: a leader proposes an in-sync set without itself"));
  CHECK(s.refusal(s.proposal("aab")) == "invalid_argument: a proposed in-sync set names a worker twice");
  CHECK(s.state() == "a+0 [a b c]");
}

TEST_CASE("rule 8: who is taken out below min_in_sync stays eligible", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  CHECK(s.join("a") == "a+0 [a] (b c)");
}

TEST_CASE("a partition that does not exist is refused", "[metad][controller]") {
  ReplicaScript s("a", 1);
  const std::string text = "invalid_argument: there is no such partition; they are counted from 0";
  CHECK(s.refusal(AlterInSync{s.session("a"), {1}, {1}, {1}, {}}) == text);
  CHECK(s.refusal(ResignLeader{s.session("a"), {1}, {1}}) == text);
  CHECK(s.refusal(ReportUnclean{s.session("a"), {4095}}) == text);
  CHECK(s.refusal(MovePartition{{1}, {"a"}}) == text);
  CHECK(s.refusal(ForceLeader{{1}, "a", true}) == text);
}

// --- resign, rule 13: unclean --------------------------------------------------------------------------------------

TEST_CASE("a leader that resigns is followed by another in-sync replica, and stays in sync", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const ResignLeader resign{s.session("a"), {0}, s.info().epoch};
  CHECK(s.resign() == "b+1 [a b c]");
  s.ask(resign);  // asked again
  CHECK(s.state() == "b+1 [a b c]");
  s.pass(20'000);
  CHECK(s.state() == "b+1 [a b c]");  // not given back at once
  s.pass(60'000);
  CHECK(s.state() == "a+2 [a b c]");
}

TEST_CASE("a leader that resigns and is alone leads in a new epoch", "[metad][controller]") {
  ReplicaScript s("ab", 2);
  s.lose("b");
  CHECK(s.resign() == "a+1 [a] (b)");
}

TEST_CASE("nobody resigns for another session or epoch", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.ask(ResignLeader{s.session("b"), {0}, s.info().epoch});
  s.ask(ResignLeader{s.session("a"), {0}, {s.info().epoch.value + 1}});
  s.ask(ResignLeader{{0}, {0}, s.info().epoch});
  CHECK(s.state() == "a+0 [a b]");
}

TEST_CASE("rule 13: a replica that is damaged is neither in sync nor eligible until it was repaired",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  CHECK(s.unclean("c") == "a+0 [a b] -c");
  CHECK(s.unclean("c") == "a+0 [a b] -c");
  CHECK(s.join("abc") == "a+0 [a b] -c");   // it caught up, as far as its leader knows
  CHECK(s.unclean("b") == "a+0 [a] -b c");  // not eligible, although too few are left
  CHECK(s.repaired("c") == "a+0 [a] -b");
  CHECK(s.join("ac") == "a+0 [a c] -b");
  CHECK(s.repaired("b") == "a+0 [a c]");
  CHECK(s.join("abc") == "a+0 [a b c]");
}

TEST_CASE("rule 13: a word of an earlier repair does not make up for a later damage", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.unclean("c");
  const ReportUnclean earlier{s.session("c"), {0}, true, s.info().version};
  s.ask(earlier);
  s.unclean("c");
  s.ask(earlier);
  CHECK(s.state() == "a+0 [a b] -c");
  const ReportUnclean late{s.session("c"), {0}, true, s.info().version};
  s.unclean("c");
  s.ask(late);
  CHECK(s.state() == "a+0 [a b] -c");
}

TEST_CASE("rule 13: a word of damage that comes after its repair changes nothing", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  const ReportUnclean damaged{s.session("c"), {0}, false, s.info().version};
  s.ask(damaged);
  CHECK(s.state() == "a+0 [a b] -c");
  CHECK(s.refusal(damaged).starts_with("unavailable: the partition has changed since"));  // it says it again, as it is
  CHECK(s.repaired("c") == "a+0 [a b]");
  CHECK(s.refusal(damaged).starts_with("unavailable: the partition has changed since"));
  CHECK(s.state() == "a+0 [a b]");
}

TEST_CASE("rule 13: what is unclean stays so when its worker starts again, until an operator forces it",
          "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.unclean("c");
  s.come("c");
  CHECK(s.state() == "a+0 [a b] -c");
  CHECK(s.force("c", true) == "c+1 [c]");
}

TEST_CASE("a store that its worker does not trust counts for nothing before it was repaired", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.come(ReplicaScript::member("c", false));
  CHECK(s.state() == "a+0 [a b] -c");
}

TEST_CASE("rule 13: a damaged leader steps down", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  CHECK(s.unclean("a") == "b+1 [b c] -a");
  CHECK(s.unclean("b") == "c+2 [c] -a b");
  CHECK(s.unclean("c") == "c+2 [c] -a b");  // the only complete copy: what of it is good is served
  CHECK(s.refusal(ReportUnclean{SessionId{999'999}, {0}}).starts_with("unavailable: unknown session"));
}

TEST_CASE("rule 13: a damaged leader is followed by an eligible one when nobody is in sync", "[metad][controller]") {
  ReplicaScript s("ab", 2);
  s.fence("b");
  s.fence("b", false);
  CHECK(s.state() == "a+0 [a] (b)");
  CHECK(s.unclean("a") == "b+1 [b] -a");
}

TEST_CASE("rule 13: a damaged copy that is the last to have everything stays eligible", "[metad][controller]") {
  ReplicaScript s("ab", 2);
  s.lose("b");
  s.fence("a");
  CHECK(s.state() == "nobody+1 [] (a b)");
  CHECK(s.unclean("a") == "nobody+1 [] (b) -a");
  ReplicaScript alone("a", 1);
  alone.fence("a");
  CHECK(alone.unclean("a") == "nobody+1 [] (a)");
}

// --- an operator forces a leader -----------------------------------------------------------------------------------

TEST_CASE("a leader that may miss something is forced only when the loss is accepted", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("c");
  s.lose("ab");
  s.come("c");
  CHECK(s.state() == "nobody+1 [] (a b)");
  const std::string text = s.refusal(ForceLeader{{0}, "c", false});
  CHECK(text.starts_with("denied: worker 'c' is not known to have all confirmed messages of partition 0"));
  CHECK(text.find("what of it only 'a', 'b' has would be lost for good") != std::string::npos);
  CHECK(text.find("accept_loss") != std::string::npos);
  CHECK(s.state() == "nobody+1 [] (a b)");
  CHECK(s.force("c", true) == "c+2 [c]");
  s.come("a");
  CHECK(s.state() == "c+2 [c]");  // it may have what is lost, so it follows and is cut to what c has
}

TEST_CASE("a complete replica is made leader by force without any loss", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  CHECK(s.force("c") == "c+1 [a b c]");
  CHECK(s.force("c") == "c+1 [a b c]");
  CHECK(s.last().changes.empty());
}

TEST_CASE("nobody is forced to lead who is away or holds nothing", "[metad][controller]") {
  ReplicaScript s("ab", 1);
  s.lose("b");
  CHECK(s.refusal(ForceLeader{{0}, "b", true}) == "unavailable: worker 'b' is away or fenced, so it cannot lead");
  s.come("d");
  CHECK(s.refusal(ForceLeader{{0}, "d", true}) ==
        "invalid_argument: worker 'd' is no replica of partition 0; those are 'a', 'b'");
}

TEST_CASE("a partition without a copy that can be trusted is led again only by force", "[metad][controller]") {
  ReplicaScript s("a", 1);
  s.come(ReplicaScript::member("a", false));
  CHECK(s.state() == "nobody+1 [] -a");
  s.come("a");
  CHECK(s.state() == "nobody+1 [] -a");
  CHECK(s.refusal(ForceLeader{{0}, "a", false}).find("no worker is known to have everything") != std::string::npos);
  CHECK(s.force("a", true) == "a+2 [a]");
}

// --- leaders evenly ------------------------------------------------------------------------------------------------

TEST_CASE("the preferred leader leads again once it was in sync for a while", "[metad][controller]") {
  ReplicaScript s("abc", 2);
  s.lose("a");
  s.come("a");
  s.pass(6'000);
  CHECK(s.state() == "b+1 [b c]");  // not before it is in sync
  s.join("abc");
  s.pass(4'900);
  CHECK(s.state() == "b+1 [a b c]");
  s.pass(200);
  CHECK(s.state() == "a+2 [a b c]");
}

TEST_CASE("time out of sync does not count for a preferred leader", "[metad][controller]") {
  ReplicaScript s("abc", 1);
  s.lose("a");
  s.come("a");
  s.join("abc");
  s.pass(4'000);
  s.join("bc");
  s.pass(4'000);
  s.join("abc");
  s.pass(4'000);
  CHECK(s.state() == "b+1 [a b c]");
}

TEST_CASE("only a few leaders change in one tick", "[metad][controller]") {
  Script s(Script::first_image(64, {77, 2, 1}));
  s.at(0, ReplicaScript::member("a"));
  s.at(0, ReplicaScript::member("b"));
  const SessionId a = s.controller().snapshot().workers[0].session;
  const SessionId b = s.controller().snapshot().workers[1].session;
  const auto all_join = [&] {
    for (const PartitionInfo& p : s.partitions()) {
      s.at(0, AlterInSync{p.leader_session, p.id, p.epoch, p.version, {{"a", a}, {"b", b}}});
    }
  };
  for (int i = 0; i < 64; ++i) s.create(0, "q" + std::to_string(i));
  all_join();
  s.at(0, FenceWorker{"a", true});
  CHECK(s.led_by("b") == 64);
  s.at(0, FenceWorker{"a", false});
  all_join();
  const std::size_t at_will = s.led_by("a");  // these hold nothing and moved at once
  std::size_t before = at_will;
  for (std::int64_t ms = 50; ms <= 8'000; ms += 50) {
    s.at(ms, MemberHeartbeat{a});
    s.at(ms, MemberHeartbeat{b});
    s.at(ms, ControllerTick{});
    CHECK(s.led_by("a") - before <= kHandoversPerTick);
    before = s.led_by("a");
  }
  CHECK(before > at_will + 2 * kHandoversPerTick);
}

// --- rule 11: cut off from metad -----------------------------------------------------------------------------------

TEST_CASE("rule 11: a leader is replaced when so many heartbeats are missing, and its old session is over",
          "[metad][controller]") {
  ReplicaScript s("ab", 1);
  const SessionId cut_off = s.session("a");
  s.pass(300, "a");
  CHECK(s.state() == "a+0 [a b]");  // just three, not more
  s.pass(50, "a");
  CHECK(s.state() == "b+1 [b]");
  CHECK(s.refusal(MemberHeartbeat{cut_off}).starts_with("unavailable: unknown session"));
}
