// Members and a real metad over inproc and TCP: registration, the feed, and metad going away and coming back.
#include <catch2/catch.hpp>
#include <thread>

#include "metad/daemon.hpp"
#include "runtime/clock.hpp"
#include "runtime/data_directory.hpp"
#include "runtime/metad_link.hpp"

using namespace dmq;

namespace {

constexpr std::int64_t kBoundMs = 10'000;  // only a failing test waits as long

// A daemon and the thread that runs it.
class Metad {
 public:
  Metad(zmq::context_t& context, const std::string& directory, const std::string& listen,
        const std::string& feed = "") {
    MetadOptions options;
    options.data_dir = directory;
    options.listen = listen;
    options.feed = feed;
    options.heartbeat = DurationMs{200};  // a busy machine may hold up a test for 600 ms
    // libzmq closes in the background: the address of a metad that ended is in use for a moment longer.
    const TimeMs bound = steady_now() + DurationMs{kBoundMs};
    auto daemon = MetadDaemon::open(context, options);
    while (!daemon && daemon.error().code == Errc::kUnavailable && steady_now() < bound) {
      std::this_thread::yield();
      daemon = MetadDaemon::open(context, options);
    }
    if (!daemon) throw std::runtime_error(daemon.error().context);
    daemon_ = std::move(*daemon);
    thread_ = std::thread([this] { daemon_->run(); });
  }
  ~Metad() {
    daemon_->stop();
    thread_.join();
    CHECK(daemon_->failure());
  }
  const MetadDaemon& daemon() const { return *daemon_; }

 private:
  std::unique_ptr<MetadDaemon> daemon_;
  std::thread thread_;
};

RegisterMember worker(const std::string& name) {
  return {RegisterMember::Role::kWorker, name, "inproc://" + name, "commit"};
}
RegisterMember router(const std::string& name) { return {RegisterMember::Role::kRouter, name, "", ""}; }

// Steps the links as their loops would until `done`, or says no after a bound.
template <class Done>
bool wait_until(const std::vector<MetadLink*>& links, Done done) {
  const TimeMs bound = steady_now() + DurationMs{kBoundMs};
  std::vector<zmq::pollitem_t> items;
  while (!done()) {
    const TimeMs now = steady_now();
    if (now >= bound) return false;
    TimeMs wake = bound;
    items.clear();
    for (MetadLink* link : links) {
      link->step(now);
      link->add_poll_items(items);
      wake = std::min(wake, link->next_deadline());
    }
    if (done()) return true;
    zmq::poll(items, std::chrono::milliseconds(std::clamp<std::int64_t>((wake - steady_now()).value, 0, 100)));
  }
  return true;
}

// Asks and waits for the answer.
MetadReplyBody ask(MetadLink& link, MetadRequestBody body) {
  std::optional<MetadReplyBody> answer;
  link.request(std::move(body), steady_now(), [&](const MetadReplyBody& reply) { answer = reply; });
  REQUIRE(wait_until({&link}, [&] { return answer.has_value(); }));
  return *answer;
}

bool ready(const MetadLink& link) { return link.registered() && !link.catalog().empty(); }

}  // namespace

TEST_CASE("a queue that one member creates is seen by the other", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://metad");
  std::vector<std::string> seen;
  MetadLink a(context, "inproc://metad", worker("a"), nullptr);
  MetadLink b(context, "inproc://metad", router("b"), [&](const CatalogChange* change) {
    if (change == nullptr) return seen.push_back("snapshot");
    if (const auto* queue = std::get_if<QueueInfo>(change)) seen.push_back("queue " + queue->name);
    if (const auto* deleted = std::get_if<QueueDeleted>(change)) seen.push_back("deleted " + deleted->name);
  });
  REQUIRE(wait_until({&a, &b}, [&] { return ready(a) && ready(b); }));
  CHECK(a.session() != b.session());
  CHECK(a.connected(steady_now()));

  const auto queue = std::get<QueueInfo>(ask(a, CreateQueue{"orders", {}, false}));
  REQUIRE(wait_until({&a, &b}, [&] { return b.catalog().find_queue("orders") != nullptr; }));
  CHECK(*b.catalog().find_queue("orders") == queue);
  CHECK(b.catalog().find_partition(queue.partition)->leader == "a");
  CHECK(b.catalog().find_worker("a")->session == a.session());

  CHECK(std::get<QueueDeleted>(ask(b, DeleteQueue{"orders"})).id == queue.id);
  REQUIRE(wait_until({&a, &b}, [&] { return b.catalog().is_deleted(queue.id) && a.catalog().is_deleted(queue.id); }));
  REQUIRE(seen.front() == "snapshot");
  CHECK(seen.back() == "deleted orders");
}

TEST_CASE("an answer that is an error comes as one", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://metad");
  MetadLink link(context, "inproc://metad", router("r"), nullptr);
  CHECK(std::get<Error>(ask(link, DeleteQueue{"none"})).code == Errc::kNoSuchQueue);
  CHECK(std::get<Error>(ask(link, CreateQueue{"", {}, false})).code == Errc::kInvalidArgument);
}

TEST_CASE("a link that starts before metad waits for it", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  std::string endpoint;
  std::string feed;
  {
    const Metad first(context, directory.path(), "tcp://127.0.0.1:*");
    endpoint = first.daemon().endpoint();
    feed = first.daemon().feed_endpoint();
  }
  MetadLink link(context, endpoint, router("r"), nullptr);
  link.step(steady_now());
  CHECK_FALSE(link.registered());
  CHECK_FALSE(link.connected(steady_now()));
  const Metad metad(context, directory.path(), endpoint, feed);
  CHECK(wait_until({&link}, [&] { return ready(link); }));
}

TEST_CASE("a request that metad never answers ends with unavailable", "[metad][metad_link]") {
  zmq::context_t context;
  MetadLink link(context, "inproc://nobody", router("r"), nullptr);
  const TimeMs start{1'000'000};
  int answers = 0;
  link.request(DeleteQueue{"q"}, start, [&](const MetadReplyBody& reply) {
    ++answers;
    CHECK(std::get<Error>(reply).code == Errc::kUnavailable);
  });
  link.step(start + DurationMs{2999});
  CHECK(answers == 0);
  CHECK(link.next_deadline() <= start + DurationMs{3000});
  link.step(start + DurationMs{3000});
  link.step(start + DurationMs{9000});
  CHECK(answers == 1);
}

TEST_CASE("only so many requests wait, one more is refused at once", "[metad][metad_link]") {
  zmq::context_t context;
  MetadLink link(context, "inproc://nobody", router("r"), nullptr);
  int refused = 0;
  for (int i = 0; i < 10'000; ++i) link.request(GetSnapshot{}, TimeMs{1}, [&](const MetadReplyBody&) { ++refused; });
  CHECK(refused == 0);
  link.request(GetSnapshot{}, TimeMs{1}, [&](const MetadReplyBody&) { ++refused; });
  CHECK(refused == 1);
}

TEST_CASE("while metad restarts the copy answers; a router registers again, a worker keeps its session",
          "[metad][metad_link]") {
  const std::string transport = GENERATE("inproc", "tcp");
  INFO(transport);
  zmq::context_t context;
  TemporaryDirectory directory;
  std::string endpoint = transport == "tcp" ? "tcp://127.0.0.1:*" : "inproc://metad";
  auto metad = std::make_unique<Metad>(context, directory.path(), endpoint);
  endpoint = metad->daemon().endpoint();
  const std::string feed = metad->daemon().feed_endpoint();
  MetadLink w(context, endpoint, worker("w"), nullptr);
  MetadLink r(context, endpoint, router("r"), nullptr);
  const std::vector<MetadLink*> both{&w, &r};
  REQUIRE(wait_until(both, [&] { return ready(w) && ready(r); }));
  const auto queue = std::get<QueueInfo>(ask(w, CreateQueue{"orders", {}, false}));
  REQUIRE(wait_until(both, [&] { return r.catalog().find_queue("orders") != nullptr; }));
  const SessionId worker_before = w.session();
  const SessionId router_before = r.session();
  const Epoch epoch = r.catalog().find_partition(queue.partition)->epoch;

  metad.reset();
  REQUIRE(wait_until(both, [&] { return !w.connected(steady_now()) && !r.connected(steady_now()); }));
  CHECK(*r.catalog().find_queue("orders") == queue);
  CHECK(r.catalog().find_partition(queue.partition)->leader == "w");

  metad = std::make_unique<Metad>(context, directory.path(), endpoint, feed);
  REQUIRE(
      wait_until(both, [&] { return r.registered() && r.session() != router_before && w.connected(steady_now()); }));
  CHECK(*r.catalog().find_queue("orders") == queue);
  CHECK(w.session() == worker_before);
  CHECK(r.catalog().find_partition(queue.partition)->epoch == epoch);
  const auto next = std::get<QueueInfo>(ask(w, CreateQueue{"more", {}, false}));
  CHECK(next.id > queue.id);
  CHECK(wait_until(
      both, [&] { return w.catalog().find_queue("more") != nullptr && r.catalog().find_queue("more") != nullptr; }));
}

TEST_CASE("a worker whose feed came back elsewhere registers again", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  auto metad = std::make_unique<Metad>(context, directory.path(), "inproc://metad", "inproc://feed-1");
  MetadLink link(context, "inproc://metad", worker("w"), nullptr);
  REQUIRE(wait_until({&link}, [&] { return ready(link); }));
  const SessionId before = link.session();
  metad.reset();
  metad = std::make_unique<Metad>(context, directory.path(), "inproc://metad", "inproc://feed-2");
  REQUIRE(wait_until({&link}, [&] { return link.registered() && link.session() != before; }));
  const auto queue = std::get<QueueInfo>(ask(link, CreateQueue{"q", {}, false}));
  REQUIRE(wait_until({&link}, [&] { return link.catalog().find_queue("q") != nullptr; }));
  CHECK(link.catalog().find_partition(queue.partition)->epoch > Epoch{1});
}

TEST_CASE("the second of two members with one name fences the first", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://metad");
  MetadLink first(context, "inproc://metad", worker("w"), nullptr);
  REQUIRE(wait_until({&first}, [&] { return ready(first); }));
  const SessionId fenced = first.session();
  MetadLink second(context, "inproc://metad", worker("w"), nullptr);
  REQUIRE(wait_until({&second}, [&] { return ready(second); }));
  CHECK(second.session() > fenced);
  REQUIRE(wait_until({&first}, [&] { return first.session() != fenced; }));
}

TEST_CASE("a fenced worker with a good feed takes its new session without a snapshot", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://metad");
  MetadLink* self = nullptr;
  std::optional<SessionId> told;
  MetadLink link(context, "inproc://metad", worker("w"), [&](const CatalogChange* change) {
    const WorkerInfo* known = self->catalog().find_worker("w");
    if (change == nullptr && known != nullptr && known->session == self->session()) told = self->session();
    if (const auto* info = change == nullptr ? nullptr : std::get_if<WorkerInfo>(change)) {
      if (info->session == self->session()) told = info->session;
    }
  });
  self = &link;
  REQUIRE(wait_until({&link}, [&] { return ready(link) && told == link.session(); }));
  const SessionId before = link.session();
  // Another process takes the name once; the link must win its session back and be told of it.
  CHECK(std::holds_alternative<Registered>(ask(link, worker("w"))));
  REQUIRE(wait_until({&link}, [&] { return link.registered() && link.session() != before && told == link.session(); }));
  CHECK(link.catalog().find_partition(PartitionId{0})->epoch == Epoch{3});
}

TEST_CASE("a catalog that went back is refused", "[metad][metad_link]") {
  zmq::context_t context;
  TemporaryDirectory kept;
  TemporaryDirectory lost;
  auto metad = std::make_unique<Metad>(context, kept.path(), "inproc://metad");
  MetadLink link(context, "inproc://metad", router("r"), nullptr);
  REQUIRE(wait_until({&link}, [&] { return ready(link); }));
  for (const char* name : {"a1", "a2", "a"}) ask(link, CreateQueue{name, {}, false});
  REQUIRE(wait_until({&link}, [&] { return link.catalog().find_queue("a") != nullptr; }));
  const SessionId before = link.session();
  metad.reset();
  metad = std::make_unique<Metad>(context, lost.path(), "inproc://metad");
  MetadLink other(context, "inproc://metad", router("other"), nullptr);
  REQUIRE(wait_until({&link, &other}, [&] { return ready(other) && link.registered() && link.session() != before; }));
  ask(other, CreateQueue{"b", {}, false});
  REQUIRE(wait_until({&link, &other}, [&] { return other.catalog().find_queue("b") != nullptr; }));
  CHECK(link.catalog().find_queue("a") != nullptr);
  CHECK(link.catalog().find_queue("b") == nullptr);
}

namespace {

// A metad whose every word is the test's. Time is the test's too; only the way of a message is waited for.
class SpokenMetad {
 public:
  explicit SpokenMetad(zmq::context_t& context)
      : requests_(context, zmq::socket_type::router), feed_(context, zmq::socket_type::pub) {
    requests_.bind("inproc://spoken");
    feed_.bind("inproc://spoken-feed");
  }
  // The link's next request of this kind; others are left without an answer.
  template <class Body>
  std::uint64_t await(MetadLink& link, TimeMs now) {
    MsgpackReader reader;
    for (int i = 0; i < 10'000; ++i) {
      link.step(now);
      zmq::message_t peer;
      zmq::message_t frame;
      if (!requests_.recv(peer, zmq::recv_flags::dontwait)) {
        std::this_thread::yield();
        continue;
      }
      REQUIRE(requests_.recv(frame));
      peer_.copy(peer);
      const auto request = decode_metad_request(frame.to_string_view(), reader);
      REQUIRE(request);
      if (std::holds_alternative<Body>(request->body)) return request->id;
    }
    FAIL("the link did not ask");
    return 0;
  }
  void answer(std::uint64_t id, MetadReplyBody body) {
    zmq::message_t peer;
    peer.copy(peer_);
    requests_.send(peer, zmq::send_flags::sndmore);
    requests_.send(zmq::buffer(encode_metad_reply({id, std::move(body)})));
  }
  void publish(const CatalogUpdate& update) {
    feed_.send(zmq::buffer(kCatalogTopic), zmq::send_flags::sndmore);
    feed_.send(zmq::buffer(encode_update(update)));
  }
  static Registered registered(std::uint64_t session, std::uint64_t floor) {
    return {SessionId{session}, "inproc://spoken-feed", 200, 5, 0, CatalogVersion{floor}};
  }
  static CatalogSnapshot snapshot(std::uint64_t version) {
    CatalogSnapshot out;
    out.version = {version};
    out.partitions = 4;
    return out;
  }

 private:
  zmq::socket_t requests_;
  zmq::socket_t feed_;
  zmq::message_t peer_;
};

// Steps the link at one moment until `done`, or says no after a bound.
template <class Done>
bool step_until(MetadLink& link, TimeMs now, Done done) {
  const TimeMs bound = steady_now() + DurationMs{kBoundMs};
  while (!done() && steady_now() < bound) {
    link.step(now);
    std::this_thread::yield();
  }
  return done();
}

}  // namespace

// libzmq reads the first frame of an update ahead; torn from the second one, it would end the process.
TEST_CASE("a feed may move while an update waits", "[metad][metad_link]") {
  zmq::context_t context;
  SpokenMetad metad(context);
  zmq::socket_t next_feed(context, zmq::socket_type::pub);
  next_feed.bind("inproc://next-feed");
  MetadLink link(context, "inproc://spoken", worker("w"), nullptr);
  TimeMs now{1'000'000};
  metad.answer(metad.await<RegisterMember>(link, now), SpokenMetad::registered(5, 1));
  metad.answer(metad.await<GetSnapshot>(link, now), SpokenMetad::snapshot(1));
  REQUIRE(step_until(link, now, [&] { return !link.catalog().empty(); }));
  now = now + DurationMs{200};
  metad.answer(metad.await<MemberHeartbeat>(link, now), Error{Errc::kUnavailable, "unknown session"});
  const std::uint64_t registration = metad.await<RegisterMember>(link, now);
  metad.publish({0, {1}, {2}, {ClusterInfo{1, 1, 1}}});
  std::vector<zmq::pollitem_t> items;
  link.add_poll_items(items);
  REQUIRE(zmq::poll(&items.at(1), 1, std::chrono::seconds(10)) == 1);
  metad.answer(registration, Registered{SessionId{6}, "inproc://next-feed", 200, 5, 0, CatalogVersion{3}});
  REQUIRE(step_until(link, now, [&] { return link.session() == SessionId{6}; }));
  metad.answer(metad.await<GetSnapshot>(link, now), SpokenMetad::snapshot(3));
  CHECK(step_until(link, now, [&] { return link.catalog().version() == CatalogVersion{3}; }));
}

TEST_CASE("rule 1: what is older than the registration is told to nobody", "[metad][metad_link]") {
  zmq::context_t context;
  SpokenMetad metad(context);
  std::vector<std::string> told;
  MetadLink link(context, "inproc://spoken", worker("w"),
                 [&](const CatalogChange* change) { told.emplace_back(change == nullptr ? "anything" : "a change"); });
  const auto session = [&](std::uint64_t id) { return [&link, id] { return link.session() == SessionId{id}; }; };
  const auto version = [&](std::uint64_t v) { return [&link, v] { return link.catalog().version().value == v; }; };
  TimeMs now{1'000'000};
  metad.answer(metad.await<RegisterMember>(link, now), SpokenMetad::registered(5, 10));
  REQUIRE(step_until(link, now, session(5)));

  metad.answer(metad.await<GetSnapshot>(link, now), SpokenMetad::snapshot(9));
  now = now + DurationMs{3'000};  // refused, so it asks again
  metad.answer(metad.await<GetSnapshot>(link, now), SpokenMetad::snapshot(10));
  REQUIRE(step_until(link, now, version(10)));
  CHECK(told == std::vector<std::string>{"anything"});

  now = now + DurationMs{200};
  metad.answer(metad.await<MemberHeartbeat>(link, now), Error{Errc::kUnavailable, "unknown session"});
  metad.answer(metad.await<RegisterMember>(link, now), SpokenMetad::registered(6, 15));
  REQUIRE(step_until(link, now, session(6)));
  metad.publish({0, {10}, {12}, {ClusterInfo{1, 1, 1}}});
  REQUIRE(step_until(link, now, version(12)));
  CHECK(told.size() == 1);  // still of the old session
  metad.publish({0, {12}, {15}, {ClusterInfo{1, 2, 1}}});
  REQUIRE(step_until(link, now, version(15)));
  CHECK(told == std::vector<std::string>{"anything", "anything"});
  metad.publish({0, {15}, {16}, {ClusterInfo{1, 3, 1}}});
  REQUIRE(step_until(link, now, version(16)));
  CHECK(told.back() == "a change");
}

TEST_CASE("rule 11: the lease runs from when the last answered heartbeat was sent", "[metad][metad_link]") {
  zmq::context_t context;
  SpokenMetad metad(context);
  MetadLink link(context, "inproc://spoken", worker("w"), nullptr);
  const TimeMs start{1'000'000};
  CHECK(link.leased_until() == TimeMs{0});
  const std::uint64_t registration = metad.await<RegisterMember>(link, start);
  metad.answer(registration, SpokenMetad::registered(5, 1));
  const TimeMs heard = start + DurationMs{900};
  REQUIRE(step_until(link, heard, [&] { return link.registered(); }));
  CHECK(link.leased_until() == start + DurationMs{1'000});
  const std::uint64_t first = metad.await<MemberHeartbeat>(link, heard + DurationMs{200});
  const std::uint64_t second = metad.await<MemberHeartbeat>(link, heard + DurationMs{400});
  CHECK(second > first);
  metad.answer(first, Done{});
  REQUIRE(step_until(link, heard + DurationMs{500}, [&] { return link.leased_until() > start + DurationMs{1'000}; }));
  CHECK(link.leased_until() == heard + DurationMs{1'200});
  metad.answer(second, Error{Errc::kUnavailable, "unknown session"});
  REQUIRE(step_until(link, heard + DurationMs{500}, [&] { return !link.registered(); }));
  CHECK(link.leased_until() == TimeMs{0});
}

TEST_CASE("metad answers a request that it does not understand", "[metad][daemon]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://metad");
  zmq::socket_t client(context, zmq::socket_type::dealer);
  client.set(zmq::sockopt::rcvtimeo, static_cast<int>(kBoundMs));
  client.connect("inproc://metad");
  client.send(zmq::str_buffer("no request at all"));
  client.send(
      zmq::str_buffer("\x83\xa2id\x07\xa2op\xa4sing\xa4"
                      "body\x80"));
  MsgpackReader reader;
  zmq::message_t frame;
  REQUIRE(client.recv(frame));
  const auto reply = decode_metad_reply(frame.to_string_view(), reader);
  REQUIRE(reply);
  CHECK(reply->id == 7);
  CHECK(std::get<Error>(reply->body).code == Errc::kUnknownOp);
}

TEST_CASE("metad on every interface wants to know the name by which it is reached", "[metad][daemon]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  MetadOptions options;
  options.data_dir = directory.path();
  options.listen = "tcp://0.0.0.0:*";
  const auto refused = MetadDaemon::open(context, options);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Errc::kInvalidArgument);
  CHECK(refused.error().context.find("--advertise") != std::string::npos);
  options.advertise = "localhost";
  const auto opened = MetadDaemon::open(context, options);
  REQUIRE(opened);
  CHECK((*opened)->feed_endpoint().starts_with("tcp://localhost:"));
}

TEST_CASE("a second metad on the same directory is told so", "[metad][daemon]") {
  zmq::context_t context;
  TemporaryDirectory directory;
  const Metad metad(context, directory.path(), "inproc://one");
  MetadOptions options;
  options.data_dir = directory.path();
  options.listen = "inproc://two";
  const auto second = MetadDaemon::open(context, options);
  REQUIRE_FALSE(second);
  CHECK(second.error().context.find("is in use by another process") != std::string::npos);
}
