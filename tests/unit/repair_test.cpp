// Rule 13: what becomes of a damaged record, on three workers with one partition and a metad that keeps its rules.
#include <algorithm>
#include <catch2/catch.hpp>

#include "protocol/payload.hpp"
#include "storage/service.hpp"
#include "tests/sim/disk.hpp"

namespace dmq {
namespace {

const std::vector<std::string> kNames{"a", "b", "c"};

// A worker whose every turn is committed at once.
struct Worker {
  Worker(std::string worker, SessionId first) : name(std::move(worker)), session(first) {}

  // A new process on the same disk.
  void start(const CatalogSnapshot& snapshot, const Now& now) {
    catalog = CatalogCopy();
    catalog.apply(snapshot);
    limits.scrub_bytes_per_s = scrub ? 1'000'000'000 : 0;
    limits.scrub_every = DurationMs{500};
    service = std::make_unique<Service>(name, limits, catalog, disk);
    turn = {};
    out = {};
    for (const auto& [id, state] : disk.partitions) service->restore_partition(id, state, disk.epochs[id]);
    for (const auto& [key, state] : disk.producers) service->restore_producer(key, state);
    for (const auto& [place, below] : disk.dropped) service->restore_dropped(place, below);
    for (const auto& [place, bytes] : disk.records) {
      const auto header = read_record_header(bytes);
      if (!header) {
        service->restore_damaged(place);
      } else {
        service->restore_record(place, *header, disk.returns[place], now);
      }
    }
    if (miscounted) service->restore_miscounted({0});
    follow(now);
  }
  void follow(const Now& now) {
    REQUIRE(service->follow_catalog(session, nullptr, now, turn, out));
    commit(now);
  }
  void commit(const Now& now) {
    for (int i = 0; i < 3 && !turn.empty(); ++i) {
      service->seal(turn, now, out);
      disk.commit(turn.effects, turn.writes);
      Turn done = std::exchange(turn, {});
      service->committed(done, now, turn, out);
    }
  }
  std::map<RecordPlace, std::string> messages() const {
    std::map<RecordPlace, std::string> found;
    for (const auto& [place, bytes] : disk.records) {
      const auto record = read_record(bytes, place);
      if (!record || record->header.type == RecordType::kMessage) found.emplace(place, record ? bytes : "damaged");
    }
    return found;
  }
  const Partition& partition() const { return service->partitions().at({0}); }
  void lose(std::uint64_t lsn) { REQUIRE(disk.records.erase({{0}, {lsn}}) == 1); }
  void damage(std::uint64_t lsn, std::size_t offset) { disk.records.at({{0}, {lsn}}).at(offset) ^= 1; }

  std::string name;
  SessionId session;
  ServiceLimits limits;
  bool scrub = false;
  bool miscounted = false;  // at its next start
  bool up = true;
  sim::Disk disk;
  CatalogCopy catalog;
  std::unique_ptr<Service> service;
  Turn turn;
  Outbox out;
  std::vector<std::string> notices;
};

class Cluster {
 public:
  explicit Cluster(const PartitionLimits& limits = {}) {
    snapshot_.version = {1};
    snapshot_.partitions = 1;
    snapshot_.queues = {{{1}, "q", {0}, {0}, {}}};
    info.version = {1};
    info.epoch = {1};
    info.min_in_sync = 2;
    info.replicas = info.in_sync = kNames;
    info.leader = "a";
    info.leader_session = {1};
    for (std::size_t i = 0; i < kNames.size(); ++i) workers.emplace_back(kNames[i], SessionId{i + 1});
    publish();
    for (Worker& worker : workers) {
      worker.limits.partition = limits;
      worker.start(snapshot_, now);
    }
    run(500);
  }

  Worker& worker(const std::string& name) { return workers[static_cast<std::size_t>(name[0] - 'a')]; }
  Worker& leader() { return worker(info.leader); }

  void need(std::uint8_t in_sync) {
    info.min_in_sync = in_sync;
    changed();
  }
  // It stops, and is out of the in-sync set.
  void stop(const std::string& name) {
    worker(name).up = false;
    std::erase(info.in_sync, name);
    if (info.leader == name) elect();
    changed();
  }
  void start(const std::string& name) {
    worker(name).up = true;
    worker(name).session.value += 10;
    publish();
    worker(name).start(snapshot_, now);
    for (Worker& each : workers) follow(each);
  }

  void run(std::int64_t ms) {
    for (std::int64_t i = 0; i < ms; i += 10) {
      now.steady = now.steady + DurationMs{10};
      now.wall = now.wall + DurationMs{10};
      for (Worker& each : workers) {
        if (!each.up) continue;
        each.service->tick(now, each.turn, each.out);
        each.commit(now);
        take(each);
      }
    }
  }

  void send(const std::vector<std::string>& bodies, std::string_view ordering_key = {}) {
    SendWriter writer;
    Attributes attributes;
    attributes.key = ordering_key;
    for (const std::string& body : bodies) writer.add(body, pack_message_pairs(attributes, {}));
    RequestHeader header;
    header.op = Op::kSend;
    CHECK(request(header, writer.finish()).empty());
  }
  // It is on the leader's disk, and nowhere else.
  void append_unheard(const std::string& body) {
    SendWriter writer;
    writer.add(body, {});
    RequestHeader header;
    header.op = Op::kSend;
    handle(header, writer.finish());
    leader().out.peers.clear();
  }
  // Bodies, and their receipts.
  std::string receive() {
    RequestHeader header;
    header.op = Op::kReceive;
    header.max = 100;
    header.lease_ms = DurationMs{1000};
    const std::string payload = request(header, {});
    MsgpackReader reader;
    std::vector<Delivery> messages;
    REQUIRE(decode_deliveries(payload, reader, messages));
    std::string out;
    receipts.clear();
    for (const Delivery& message : messages) {
      out += message.body;
      receipts.emplace_back(message.receipt);
    }
    return out;
  }
  void ack() {
    RequestHeader header;
    header.op = Op::kAck;
    CHECK(request(header, encode_receipts(receipts)).empty());
  }

  // The same messages, byte by byte, and each of them good.
  bool all_equal() const {
    const auto first = workers[0].messages();
    return first == workers[1].messages() && first == workers[2].messages();
  }
  bool all_in_sync() const { return info.in_sync == kNames && info.unclean.empty(); }
  bool told_nothing() const {
    return std::all_of(workers.begin(), workers.end(), [](const Worker& worker) { return worker.notices.empty(); });
  }
  bool told(const std::string& name, const std::string& words) {
    for (const std::string& notice : worker(name).notices) {
      if (notice.find(words) != std::string::npos) return true;
    }
    return false;
  }

  PartitionInfo info{.id = {0}};
  std::vector<Worker> workers;
  Now now{{1'000'000}, {1'700'000'000'000}};
  std::vector<std::string> receipts;
  std::size_t whole_records = 0;  // that went from one to another in answers to fetches
  std::size_t snapshots = 0;      // that were begun
  bool refuses_repairs = false;   // metad does not hear that a copy is repaired

 private:
  void publish() {
    snapshot_.partition_infos = {info};
    snapshot_.workers.clear();
    for (const Worker& each : workers) snapshot_.workers.push_back({each.name, each.name, each.session, each.up});
    ++snapshot_.version.value;
  }
  void follow(Worker& each) {
    if (!each.up) return;
    each.catalog.apply(snapshot_);
    each.follow(now);
  }
  void changed() {
    ++info.version.value;
    publish();
    for (Worker& each : workers) follow(each);
  }
  void elect() {
    info.leader = info.in_sync.empty() ? "" : info.in_sync.front();
    info.leader_session = info.in_sync.empty() ? SessionId{} : worker(info.leader).session;
    ++info.epoch.value;
  }
  // As metad does it (metad/controller_leaders.cpp).
  void take(const ReportUnclean& report, const std::string& name) {
    if (report.version != info.version) return;
    if (report.repaired) {
      if (refuses_repairs) return;
      std::erase(info.unclean, name);
    } else if (!lists(info.unclean, name)) {
      if (info.leader == name && info.in_sync.size() < 2) return;
      info.unclean.push_back(name);
      std::erase(info.in_sync, name);
      if (info.leader == name) elect();
    }
    changed();
  }
  void take(const AlterInSync& proposal) {
    if (proposal.version != info.version || proposal.epoch != info.epoch) return;
    std::vector<std::string> names;
    for (const std::string& name : kNames) {
      for (const InSyncMember& member : proposal.in_sync) {
        if (member.name == name) names.push_back(name);
      }
    }
    for (const std::string& name : names) CHECK_FALSE(lists(info.unclean, name));
    const bool all_up = std::all_of(names.begin(), names.end(), [&](const auto& name) { return worker(name).up; });
    if (all_up) info.in_sync = names;
    changed();
  }
  void take(Worker& from) {
    Outbox out = std::exchange(from.out, {});
    for (std::string& notice : out.notices) from.notices.push_back(std::move(notice));
    for (const PeerFrame& frame : out.peers) pass(from, frame);
    for (const AlterInSync& proposal : out.proposals) take(proposal);
    for (const ReportUnclean& report : out.reports) take(report, from.name);
    for (std::size_t i = 0; i < out.reports.size(); ++i) {
      from.service->report_answered(info, now, from.out);
      CHECK(from.service->proposal_answered(info, now, from.turn, from.out));
    }
    replies_.insert(replies_.end(), out.replies.begin(), out.replies.end());
  }
  void pass(const Worker& from, const PeerFrame& frame) {
    const std::string_view bytes = frame.records ? std::string_view(*frame.records) : std::string_view();
    for (std::string_view rest = frame.to.empty() ? std::string_view() : bytes; !rest.empty();) {
      whole_records += take_shipped_record(rest)->bytes.size() > kShippedChecksumBytes ? 1 : 0;
    }
    const auto* part = std::get_if<SnapshotRecords>(&frame.message.body);
    snapshots += part != nullptr && part->first == Lsn{1} ? 1 : 0;
    for (Worker& to : workers) {
      if (&to == &from || !to.up || (!frame.to.empty() && frame.to != to.name)) continue;
      to.service->handle_peer(frame.message, bytes, now, to.turn, to.out);
      to.commit(now);
    }
  }
  void handle(RequestHeader header, std::string payload) {
    header.queue = "q";
    header.id = std::uint64_t{1};
    const std::string bytes = encode_request_header(header);
    Envelope envelope;
    envelope.queue = {1};
    payloads_.push_back(std::move(payload));
    replies_.clear();
    Worker& to = leader();
    const Request asked{{"router", encode_envelope(envelope)}, envelope, bytes, payloads_.back()};
    REQUIRE(to.service->handle(asked, now, to.turn, to.out));
    to.commit(now);
  }
  std::string request(const RequestHeader& header, std::string payload) {
    handle(header, std::move(payload));
    for (int i = 0; i < 20 && replies_.empty(); ++i) run(10);
    REQUIRE(replies_.size() == 1);
    MsgpackReader reader;
    REQUIRE(decode_reply_header(replies_[0].header, reader)->code == Errc::kOk);
    return header.op == Op::kReceive ? replies_[0].payload : std::string();
  }

  CatalogSnapshot snapshot_;
  std::deque<std::string> payloads_;
  std::vector<Reply> replies_;
};

}  // namespace

TEST_CASE("rule 6: what is settled during a snapshot is held for it", "[storage][repair]") {
  Cluster c({.controls_kept_max = 1, .snapshot_records_max = 1});
  c.stop("c");
  c.send(std::vector<std::string>(20, "x"));
  c.receive();
  for (int i = 0; i < 5; ++i) {
    c.send({"y"});
    c.receive();
    c.ack();
  }
  c.start("c");
  for (int i = 0; i < 5; ++i) {
    c.send({"z"});
    CHECK(c.receive() == "z");
    c.ack();
  }
  c.run(900);
  CHECK(c.snapshots == 1);
  CHECK(c.all_in_sync());
  c.run(1000);
  CHECK(c.all_equal());
}

TEST_CASE("a message whose record is damaged counts as there for its dedup id", "[storage][repair][dedup]") {
  Cluster c;
  c.send({"a", "b"});
  c.run(300);
  Partition& partition = c.leader().service->partition({0});
  const Producers::Row second{{{1}, "id"}, {{{1}, c.now.wall, {3}}, {1}, 0}};
  CHECK(partition.is_present(second));
  partition.note_damage({2}, c.now.steady);
  partition.find_queue({1})->set_aside({2}, true);
  CHECK(partition.is_present(second));
  const Producers::Row none{{{1}, "id"}, {{{1}, c.now.wall, {9}}, {1}, 0}};
  CHECK_FALSE(partition.is_present(none));
}

TEST_CASE("a leader that found a record damaged at its start hands out nothing with an ordering key",
          "[storage][repair]") {
  Cluster c;
  c.send({"a", "b"}, "k");
  c.send({"c"});
  c.run(300);
  c.need(1);
  c.stop("b");
  c.stop("c");
  const bool damaged = GENERATE(false, true);
  if (damaged) c.leader().damage(1, 64);  // it looks as if it had another key
  c.start("a");
  c.info.leader_session = c.leader().session;
  ++c.info.epoch.value;
  c.need(1);
  c.run(500);
  std::string received;
  for (int i = 0; i < 3; ++i) received += c.receive();
  CHECK(received == (damaged ? "" : "ac"));  // and not "b"
}

TEST_CASE("rule 13: a leader that meets a damaged record steps down, and gets it back", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b", "c"});
  c.run(300);
  c.leader().damage(2, 64);
  CHECK(c.receive() == "ac");
  CHECK(c.told("a", "message 0-2"));
  c.run(1000);
  CHECK(c.info.leader == "b");
  CHECK(c.all_in_sync());
  CHECK(c.receive() == "abc");
  CHECK(c.all_equal());
}

// The next leader cannot know what is committed before the damaged copy is in sync again.
TEST_CASE("rule 13: a damaged copy is repaired by a leader that knows less to be committed", "[storage][repair]") {
  Cluster c;
  c.need(3);
  c.send({"a"});
  c.run(300);
  c.send({"b"});
  REQUIRE(c.leader().partition().replica().commit() > c.worker("b").partition().replica().commit());
  c.leader().damage(1, 64);
  CHECK(c.receive() == "b");
  c.run(1500);
  CHECK(c.info.leader == "b");
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
  CHECK(c.receive() == "ab");
}

TEST_CASE("rule 13: a leader that was damaged and had published alone is repaired", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b"});
  c.run(300);
  c.append_unheard("c");
  c.leader().damage(1, 64);
  CHECK(c.receive() == "b");
  c.run(1500);
  CHECK(c.info.leader == "b");
  CHECK(c.worker("a").partition().replica().epochs() == c.leader().partition().replica().epochs());
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
  CHECK(c.receive() == "ab");
}

TEST_CASE("rule 13: damage that the scrub finds is repaired, and only that is sent again", "[storage][repair]") {
  Cluster c;
  std::vector<std::string> bodies(50, "x");
  c.send(bodies);
  c.run(300);
  std::string damaged;
  SECTION("a follower's") { damaged = "c"; }
  SECTION("the leader's") { damaged = "a"; }
  c.stop(damaged);
  c.worker(damaged).damage(50, 64);
  c.worker(damaged).scrub = true;
  c.start(damaged);
  c.whole_records = 0;
  c.run(1500);
  CHECK(c.told(damaged, "message 0-50"));
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
  CHECK(c.whole_records <= 3);
  CHECK(c.receive() == std::string(50, 'x'));
}

TEST_CASE("rule 13: a damaged copy does not come in sync before metad hears that it is repaired", "[storage][repair]") {
  Cluster c;
  c.refuses_repairs = true;
  c.send({"a", "b"});
  c.run(300);
  c.stop("c");
  c.worker("c").damage(1, 64);
  c.worker("c").scrub = true;
  c.start("c");
  c.run(1500);
  CHECK(c.info.in_sync == std::vector<std::string>{"a", "b"});
  c.refuses_repairs = false;
  c.run(1000);
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
}

TEST_CASE("copies that differ are found by comparing ranges, and the one is repaired that most are against",
          "[storage][repair]") {
  Cluster c;
  c.send(std::vector<std::string>(50, "x"));
  CHECK(c.receive() == std::string(50, 'x'));
  c.run(1500);  // leases end: the messages have delivery counts
  for (const std::string& name : kNames) {
    c.stop(name);
    c.worker(name).scrub = true;
    c.start(name);
    c.run(500);
  }
  c.run(1500);
  REQUIRE(c.all_in_sync());
  REQUIRE(c.told_nothing());
  std::string wrong;
  SECTION("a follower's") { wrong = c.info.leader == "a" ? "b" : "a"; }
  SECTION("the leader's") { wrong = c.info.leader; }
  c.worker(wrong).lose(20);
  c.run(2500);
  CHECK(c.told(wrong, "is not what other workers have"));
  CHECK(c.info.leader != wrong);
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
  CHECK(c.receive() == std::string(50, 'x'));
}

TEST_CASE("rule 13: a leader that cannot serve a follower from its log steps down", "[storage][repair]") {
  Cluster c;
  c.stop("c");
  c.send({"a", "b", "c"});
  c.run(100);
  c.leader().damage(2, 64);
  c.start("c");
  c.run(2000);
  CHECK(c.info.leader == "b");
  CHECK(c.all_in_sync());
  CHECK(c.receive() == "abc");
  CHECK(c.all_equal());
}

TEST_CASE("rule 13: the only complete copy is kept and served as far as it is good", "[storage][repair]") {
  Cluster c;
  c.info.min_in_sync = 1;
  c.stop("b");
  c.stop("c");
  c.send({"a", "b", "c"});
  c.leader().damage(2, 64);
  CHECK(c.receive() == "ac");
  c.ack();
  c.run(6000);
  CHECK(c.info.leader == "a");
  CHECK(c.told("a", "no worker that is there has another complete one"));
  c.send({"d"});
  CHECK(c.receive() == "d");
  CHECK(c.leader().disk.records.contains({{0}, {2}}));
}

TEST_CASE("rule 13: a record that cannot even be indexed at the start comes back", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b", "c"});
  c.run(300);
  c.stop("a");
  SECTION("its type") { c.worker("a").damage(2, 9); }
  SECTION("its version") { c.worker("a").disk.records.at({{0}, {2}})[8] = 77; }
  SECTION("it is gone") { c.worker("a").disk.records.erase({{0}, {2}}); }
  c.worker("a").scrub = true;
  c.start("a");
  if (c.worker("a").disk.records.contains({{0}, {2}})) {
    c.run(1500);
    CHECK(c.all_in_sync());
    CHECK(c.all_equal());
  }
  CHECK(c.receive() == "abc");
}

TEST_CASE("rule 13: a damaged record that is not applied yet stops no worker", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b"});
  CHECK(c.receive() == "ab");
  c.ack();
  c.run(300);
  c.stop("c");
  // As of a moment when nothing of it was applied: messages 1 and 2, their acks, all in the log.
  Worker& worker = c.worker("c");
  worker.disk.records = c.worker("a").disk.records;
  PartitionState& state = worker.disk.partitions.at({0});
  const Lsn acks{state.next_lsn.value - 1};
  state.applied = acks;
  std::string record(80, '\0');
  worker.disk.records[{{0}, acks}] = record;
  c.start("c");
  c.run(1500);
  CHECK(c.all_in_sync());
  CHECK(worker.partition().applied() == c.leader().partition().applied());
  CHECK_FALSE(worker.partition().rebuilding());
  c.stop("a");
  c.stop("b");
  CHECK(c.info.leader == "c");
}

TEST_CASE("rule 13: a repair that is cut short is begun again, by another leader too", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b", "c"});
  c.run(300);
  c.stop("c");
  c.worker("c").damage(2, 64);
  c.worker("c").disk.partitions.at({0}).rebuilding = true;
  c.start("c");
  c.run(20);
  c.stop("a");
  c.run(1500);
  CHECK(c.info.leader == "b");
  CHECK(c.info.in_sync == std::vector<std::string>{"b", "c"});
  CHECK(c.worker("b").messages() == c.worker("c").messages());
  c.stop("b");
  CHECK(c.info.leader == "c");
}

TEST_CASE("rule 13: a copy whose records are not those that were written is rebuilt", "[storage][repair]") {
  Cluster c;
  c.send({"a", "b", "c", "d"});
  c.run(300);
  Worker& worker = c.worker("c");
  SECTION("one vanished") {
    c.stop("c");
    worker.disk.records.erase({{0}, {2}});
  }
  SECTION("one came back") {
    const std::string settled = worker.disk.records.at({{0}, {2}});
    CHECK(c.receive() == "abcd");
    c.ack();
    c.run(300);
    c.stop("c");
    REQUIRE_FALSE(worker.disk.records.contains({{0}, {2}}));
    worker.disk.records[{{0}, {2}}] = settled;
  }
  worker.miscounted = true;
  c.start("c");
  c.run(1500);
  CHECK(c.all_in_sync());
  CHECK(c.all_equal());
}

}  // namespace dmq
