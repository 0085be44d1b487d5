// The router's core: where each request goes.
#include "router/admission.hpp"

#include <catch2/catch.hpp>

#include "protocol/partitioner.hpp"

namespace dmq {
namespace {

struct House {
  explicit House(RouterSettings settings = {}) : admission(settings, catalog) {}

  void fill() {
    CatalogSnapshot snapshot;
    snapshot.version = {1};
    snapshot.partitions = 2;
    snapshot.queues = {{{1}, "alpha", {0}, {0}, {}}, {{2}, "beta", {1}, {0}, {}}, {{3}, "bravo", {1}, {0}, {}}};
    snapshot.partition_infos = {{.id = {0}, .epoch = {4}, .leader = "one", .leader_session = {1}},
                                {.id = {1}, .epoch = {5}, .leader = "two", .leader_session = {2}}};
    snapshot.workers = {{"one", "tcp://one", {1}, true, "commit"}, {"two", "tcp://two", {2}, false, "interval"}};
    catalog.apply(snapshot);
  }
  std::string decide(Op op, std::string_view queue = "", bool admin = false, std::string_view payload = "") {
    RequestHeader header;
    header.op = op;
    header.queue = queue;
    return text(admission.decide(header, payload, admin));
  }
  static std::string text(const Decision& decision) {
    if (const auto* route = std::get_if<Route>(&decision)) {
      return "to " + route->endpoint + " queue " + std::to_string(route->queue.value) + " epoch " +
             std::to_string(route->epoch.value);
    }
    if (const auto* error = std::get_if<Error>(&decision)) return std::string(code_name(error->code));
    if (const auto* create = std::get_if<CreateFirst>(&decision)) return "create " + create->name;
    if (std::holds_alternative<AskMetad>(decision)) return "ask metad";
    return "answer";
  }

  CatalogCopy catalog;
  Admission admission;
};

}  // namespace

TEST_CASE("before the catalog is known only a ping is answered", "[router][admission]") {
  House h;
  CHECK(h.decide(Op::kPing) == "answer");
  CHECK(h.decide(Op::kHello) == "unavailable");
  CHECK(h.decide(Op::kSend, "alpha") == "unavailable");
}

TEST_CASE("a request goes to the worker that leads its queue's partition", "[router][admission]") {
  House h;
  h.fill();
  for (const Op op : {Op::kSend, Op::kReceive, Op::kAck, Op::kNack, Op::kExtend, Op::kQueueDescribe}) {
    CHECK(h.decide(op, "alpha") == "to tcp://one queue 1 epoch 4");
  }
  CHECK(h.decide(Op::kSend, "beta") == "unavailable");  // its worker is away
}

TEST_CASE("while nobody leads a partition, clients hear for whom it waits", "[router][admission]") {
  House h;
  h.fill();
  const auto message = [&](PartitionInfo partition) {
    h.catalog.apply(CatalogUpdate{0, h.catalog.version(), {h.catalog.version().value + 1}, {std::move(partition)}});
    RequestHeader header;
    header.op = Op::kSend;
    header.queue = "alpha";
    const auto decision = h.admission.decide(header, "", false);
    CHECK(std::get<Error>(decision).code == Errc::kUnavailable);
    return std::get<Error>(decision).context;
  };
  CHECK(message({.epoch = {5}}) == "no worker leads partition 0 yet; try again");
  CHECK(message({.epoch = {5}, .replicas = {"one"}, .eligible = {"one"}}) ==
        "worker one, which has this queue, is away; try again");
  CHECK(message({.epoch = {5}, .replicas = {"one", "two", "three"}, .eligible = {"one", "two"}}) ==
        "the workers one and two, which have this queue, are away; one of them is needed; try again");
  CHECK(message({.epoch = {5}, .replicas = {"one"}}) ==
        "no worker is known to have all messages of partition 0, which has this queue; an operator must decide");
}

TEST_CASE("send and receive create a queue on first use, if that is allowed", "[router][admission]") {
  House h;
  h.fill();
  CHECK(h.decide(Op::kSend, "new") == "create new");
  CHECK(h.decide(Op::kReceive, "new") == "create new");
  CHECK(h.decide(Op::kAck, "new") == "no_such_queue");
  CHECK(h.decide(Op::kQueueDescribe, "new") == "no_such_queue");
  House strict({false, false, ""});
  strict.fill();
  CHECK(strict.decide(Op::kSend, "new") == "no_such_queue");
}

TEST_CASE("to create a queue is advised only to those whom it helps", "[router][admission]") {
  House strict({false, false, ""});
  strict.fill();
  const auto message = [&](Op op) {
    RequestHeader header;
    header.op = op;
    header.queue = "new";
    return std::get<Error>(strict.admission.decide(header, "", true)).context;
  };
  for (const Op op : {Op::kSend, Op::kReceive}) {
    CHECK(message(op) == "there is no queue 'new'; create it first: dmq queue create new");
  }
  for (const Op op : {Op::kAck, Op::kNack, Op::kExtend, Op::kQueueDescribe, Op::kQueueDelete}) {
    CHECK(message(op) == "there is no queue 'new'; dmq queue list shows what there is");
  }
}

TEST_CASE("a queue is deleted by administrators only, unless set otherwise", "[router][admission]") {
  House h;
  h.fill();
  CHECK(h.decide(Op::kQueueDelete, "alpha") == "denied");
  CHECK(h.decide(Op::kQueueDelete, "alpha", true) == "ask metad");
  CHECK(h.decide(Op::kQueueDelete, "none", true) == "no_such_queue");
  House open({true, true, ""});
  open.fill();
  CHECK(open.decide(Op::kQueueDelete, "alpha") == "ask metad");
}

TEST_CASE("a queue is purged where it could be deleted", "[router][admission]") {
  House h;
  h.fill();
  CHECK(h.decide(Op::kQueuePurge, "alpha") == "denied");
  CHECK(h.decide(Op::kQueuePurge, "alpha", true) == "to tcp://one queue 1 epoch 4");
  CHECK(h.decide(Op::kQueuePurge, "none", true) == "no_such_queue");
  House open({true, true, ""});
  open.fill();
  CHECK(open.decide(Op::kQueuePurge, "alpha") == "to tcp://one queue 1 epoch 4");
}

TEST_CASE("settings of a new queue are checked before metad is asked", "[router][admission]") {
  House h;
  h.fill();
  CHECK(h.decide(Op::kQueueCreate, "new") == "ask metad");
  CHECK(h.decide(Op::kQueueCreate, "new", false, "\x81\xa8lease_ms\x64") == "ask metad");         // 100
  CHECK(h.decide(Op::kQueueCreate, "new", false, "\x81\xa8lease_ms\x63") == "invalid_argument");  // 99
  CHECK(h.decide(Op::kQueueCreate, "new", false, "\x81\xa8leese_ms\x64") == "invalid_argument");  // misspelt
  CHECK(h.decide(Op::kQueueCreate, "new", false, "\xc1") == "malformed");
}

TEST_CASE("hello tells the weakest sync mode of all workers", "[router][admission]") {
  House h;
  h.fill();
  RequestHeader header;
  header.op = Op::kHello;
  const auto answer = h.admission.decide(header, {}, false);
  CHECK(std::get<LocalReply>(answer).payload.find("interval") != std::string::npos);
}

TEST_CASE("queue.list gives pages in order of the names", "[router][admission]") {
  House h;
  h.fill();
  const auto list = [&](std::string_view prefix, std::string_view after, std::uint64_t max) {
    RequestHeader header;
    header.op = Op::kQueueList;
    header.prefix = prefix;
    header.after = after;
    header.max = max;
    const auto answer = h.admission.decide(header, {}, false);
    MsgpackReader reader;
    const auto object = reader.read(std::get<LocalReply>(answer).payload, {1000, 100, 1000, 1000});
    std::string names;
    for (std::uint32_t i = 0; i < object->via.array.size; ++i)
      names += std::string(*as_text(*find_key(object->via.array.ptr[i], "name"))) + " ";
    return names;
  };
  CHECK(list("", "", 0) == "alpha beta bravo ");
  CHECK(list("b", "", 0) == "beta bravo ");
  CHECK(list("b", "beta", 0) == "bravo ");
  CHECK(list("", "", 2) == "alpha beta ");
  CHECK(list("", "beta", 2) == "bravo ");
  CHECK(list("c", "", 0).empty());
}

TEST_CASE("the hash tag of a name decides its partition", "[router][admission]") {
  CHECK(partition_of("{order}.new", 64) == partition_of("{order}.done", 64));
  CHECK(partition_of("{order}.new", 64) == partition_of("order", 64));
}

}  // namespace dmq
