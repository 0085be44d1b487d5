// Looking at a queue's messages without taking them: states, orders, pages, and who may answer.
#include "protocol/browse.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <set>

#include "protocol/limits.hpp"
#include "service_script.hpp"

namespace dmq {
namespace {

constexpr TimeMs kStart{1000};

RequestHeader look_at(MessageState state, std::uint64_t max = 100) {
  RequestHeader header;
  header.op = Op::kBrowse;
  header.state = state;
  header.max = max;
  return header;
}

struct BrowseScript : ServiceScript {
  using ServiceScript::ServiceScript;
  // The page as "body body ..." with " +" when there is more; or the code of an error.
  std::string browse(RequestHeader header) {
    const std::string text = request(std::move(header), {});
    if (text != "ok: a map") return text;
    auto decoded = decode_browse(last_payload, reader);
    REQUIRE(decoded);
    page = std::move(*decoded);
    after = page.after;
    std::string out;
    for (const Browsed& message : page.messages) out += (out.empty() ? "" : " ") + std::string(message.body);
    return out + (after.empty() ? "" : " +");
  }
  std::string browse(MessageState state) { return browse(look_at(state)); }
  // All pages of so many.
  std::vector<std::string> pages(RequestHeader header) {
    std::vector<std::string> out;
    std::string cursor;
    do {
      header.after = cursor;
      out.push_back(browse(header));
      cursor = after;
    } while (!cursor.empty());
    return out;
  }
  MsgpackReader reader;
  BrowsePage page;
  std::string after;  // of the page
};

}  // namespace

TEST_CASE("who looks at a queue takes nothing and is not counted", "[storage][browse]") {
  BrowseScript s;
  s.send({"a", "b"});
  CHECK(s.browse(MessageState::kReady) == "a b");
  CHECK(s.browse(MessageState::kReady) == "a b");
  CHECK(s.page.messages[0].id == "0-1");
  CHECK(s.page.messages[0].state == "ready");
  CHECK(s.page.messages[0].deliveries == 0);
  CHECK(s.page.messages[0].size == 1);
  CHECK(s.page.messages[0].sent_ms == s.now.wall);
  CHECK(s.receive(10) == "ok: a b");
  CHECK(s.deliveries == 1);
  CHECK(s.browse(MessageState::kReady).empty());
}

TEST_CASE("each state shows what is in it, and until when", "[storage][browse]") {
  BrowseScript s;
  s.send({"a", "b", "c", "d"});
  s.receive(3, 0, 5000);
  s.settle(Op::kNack, {s.receipts[1]}, 700);
  s.settle(Op::kNack, {s.receipts[2]});
  CHECK(s.browse(MessageState::kLeased) == "a");
  CHECK(s.page.messages[0].lease_until_ms == s.now.wall + DurationMs{5000});
  CHECK(s.page.messages[0].deliveries == 1);
  CHECK(s.browse(MessageState::kDelayed) == "b");
  CHECK(s.page.messages[0].ready_ms == s.now.wall + DurationMs{700});
  CHECK(s.page.messages[0].deliveries == 1);
  CHECK(s.browse(MessageState::kReady) == "c d");
  CHECK(s.page.messages[0].deliveries == 1);
  CHECK(s.page.messages[1].deliveries == 0);
}

TEST_CASE("what is being acked, and what has expired, is in no state", "[storage][browse]") {
  BrowseScript s;
  s.send({"a"});
  s.send_one("b", {.ttl_ms = DurationMs{100}});
  s.receive();
  s.gathering = true;
  CHECK(s.ack(s.receipts[0]).empty());  // not committed
  s.now.steady = s.now.steady + DurationMs{100};
  s.now.wall = s.now.wall + DurationMs{100};
  for (const MessageState state :
       {MessageState::kReady, MessageState::kDelayed, MessageState::kLeased, MessageState::kDead})
    CHECK(s.browse(state).empty());
}

TEST_CASE("what a look finds ready goes first to who waits for it", "[storage][browse]") {
  BrowseScript s;
  s.send_one("a", {.delay_ms = DurationMs{100}});
  CHECK(s.receive(1, 5000).empty());
  s.now.steady = s.now.steady + DurationMs{100};
  s.now.wall = s.now.wall + DurationMs{100};
  CHECK(s.request(look_at(MessageState::kReady), {}) == "ok: a; ok: a map");
}

TEST_CASE("pages follow each other without a gap", "[storage][browse]") {
  BrowseScript s;
  s.send({"a", "b", "c", "d", "e"});
  CHECK(s.pages(look_at(MessageState::kReady, 2)) == std::vector<std::string>{"a b +", "c d +", "e"});
  SECTION("in bytes") {
    RequestHeader header = look_at(MessageState::kReady);
    header.max_bytes = 3;
    CHECK(s.pages(header) == std::vector<std::string>{"a b c +", "d e"});
  }
  SECTION("the first message comes whatever its size, and bodies can be cut") {
    s.send({std::string(500, 'x')});
    RequestHeader header = look_at(MessageState::kReady);
    const std::string cursor = cursor_text({{0}, {5}, 0});
    header.after = cursor;
    header.max_bytes = 1;
    CHECK(s.browse(header) == std::string(500, 'x'));
    header.body_bytes = 3;
    CHECK(s.browse(header) == "xxx");
    CHECK(s.page.messages[0].size == 500);
    header.body_bytes = 0;
    CHECK(s.browse(header).empty());
    CHECK(s.page.messages.size() == 1);
  }
  SECTION("of another queue nothing is shown") {
    const std::string reply = s.request(look_at(MessageState::kReady), {}, {2});
    CHECK(decode_browse(s.last_payload, s.reader)->messages.empty());
  }
}

TEST_CASE("what is next is shown as receives get it", "[storage][browse]") {
  BrowseScript s;
  const auto send = [&](std::string_view body, Priority priority) { s.send_one(body, {.priority = priority}); };
  send("a", 0), send("b", 5), send("c", 9), send("d", 5), send("e", 0);
  CHECK(s.browse(MessageState::kReady) == "a b c d e");
  RequestHeader header = look_at(MessageState::kReady);
  header.order = BrowseOrder::kNext;
  CHECK(s.browse(header) == "c b d a e");
  CHECK(s.page.messages[0].priority == 9);
  header.max = 2;
  CHECK(s.pages(header) == std::vector<std::string>{"c b +", "d a +", "e"});
  header.max = 3;
  CHECK(s.pages(header) == std::vector<std::string>{"c b d +", "a e"});
  CHECK(s.receive(5) == "ok: c b d a e");
}

TEST_CASE("a cursor that is none, or of another queue's partition, is refused", "[storage][browse]") {
  BrowseScript s;
  s.send({"a"});
  for (const char* bad : {"x", "0", "0-1", "0-1-10", "0-01-0", "0-1-0-", "1-1-0", "-0-1-0", "0-1-0 "}) {
    RequestHeader header = look_at(MessageState::kReady);
    header.after = bad;
    CHECK(s.browse(header) == "invalid_argument");
  }
  CHECK(parse_cursor(cursor_text({{65535}, {UINT64_MAX}, 9})) == BrowseCursor{{65535}, {UINT64_MAX}, 9});
}

TEST_CASE("a leader that may not deliver shows nothing", "[storage][browse]") {
  BrowseScript s;
  PartitionInfo info{.id = {0},
                     .epoch = {2},
                     .version = {2},
                     .leader = "w",
                     .leader_session = {7},
                     .replicas = {"w", "other"},
                     .in_sync = {"w"}};
  s.send({"a"});
  s.change(info);
  s.service.hold_lease(s.now.steady + DurationMs{500}, s.now, s.outbox);
  CHECK(s.browse(MessageState::kReady) == "a");
  s.wait(500);
  CHECK(s.browse(MessageState::kReady) == "unavailable");  // rule 11
  s.service.hold_lease(s.now.steady + DurationMs{500}, s.now, s.outbox);
  CHECK(s.browse(MessageState::kReady) == "a");
  for (const std::uint32_t epoch : {3U, 4U}) {
    info.epoch = {epoch};
    info.version = {epoch};
    info.in_sync = {"w", "other"};
    s.change(info);
    if (epoch == 3) CHECK(s.send({"b"}).empty());  // "other" does not have it yet
  }
  CHECK(s.taken() == "unavailable");                       // what "b" was told
  CHECK(s.browse(MessageState::kReady) == "unavailable");  // rule 3: what it has is not known to be committed
}

TEST_CASE("a damaged record is reported and not shown", "[storage][browse]") {
  BrowseScript s;
  s.send({"a", "b"});
  s.records.bytes.at({{0}, {1}}).back() ^= 1;
  CHECK(s.browse(MessageState::kReady) == "b");
  CHECK(s.outbox.notices.size() == 1);
}

TEST_CASE("while the store cannot be read, the page ends before what cannot be shown", "[storage][browse]") {
  BrowseScript s;
  s.send({"a", "b"});
  s.records.unreadable = true;
  CHECK(s.browse(MessageState::kReady) == " +");
  s.records.unreadable = false;
  RequestHeader header = look_at(MessageState::kReady);
  const std::string cursor = s.after;
  header.after = cursor;
  CHECK(s.browse(header) == "a b");
}

TEST_CASE("very many leases are shown a part of the log at a time", "[storage][browse]") {
  BrowseScript s;
  const std::vector<std::string> bodies(1000, "x");
  for (std::size_t i = 0; i <= kPageLooksMax / 1000; ++i) {
    s.send(bodies);
    s.receive(1000, 0, 60'000);
  }
  REQUIRE(s.counts().leased > kPageLooksMax);
  RequestHeader header = look_at(MessageState::kLeased, 1000);
  header.body_bytes = 0;
  std::set<std::string> seen;
  std::string cursor;
  std::size_t asked = 0;
  do {
    header.after = cursor;
    s.browse(header);
    for (const Browsed& message : s.page.messages) seen.emplace(message.id);
    cursor = s.after;
    ++asked;
  } while (!cursor.empty());
  CHECK(seen.size() == s.counts().leased);
  CHECK(asked <= seen.size() / 1000 + 1);
  // Of a state that is rare among them a page has few or none, and goes on.
  s.send({"rare"});
  s.settle(Op::kNack, {s.receipts.back()}, 60'000);
  CHECK(s.browse(MessageState::kDelayed) == "x");
}

// Pages against a look at each message.
namespace {

// One of five is dead.
ReturnState some_state(const Lease& lease, std::uint64_t any) {
  ReturnState state{.deliveries = lease.deliveries};
  if (any % 5 == 0) state.move = {MoveCause::kMaxDeliveries, {any % 2}, any};
  return state;
}

}  // namespace

TEST_CASE("the pages of a state are the messages that are in it", "[storage][browse]") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937 random(seed);
  const auto below = [&](std::uint32_t most) { return static_cast<std::uint32_t>(random() % most); };
  Queue queue;
  std::uint64_t last = 0;
  TimeMs now = kStart;
  std::vector<Queue::Expired> expired;
  for (int step = 0; step < 4000; ++step) {
    const std::uint32_t kind = below(10);
    if (kind < 4) {
      Arrival arrival{.bytes = 1, .priority = static_cast<Priority>(below(3) == 0 ? below(10) : 0), .ready_at = now};
      if (below(4) == 0) arrival.ready_at = now + DurationMs{below(500)};
      queue.append({last += 1 + below(3)}, arrival, now);
    } else if (kind < 6 && queue.has_ready()) {
      const Lsn lsn = *queue.first_ready();
      const Lease lease = queue.lease_first({1}, now + DurationMs{1 + below(300)}, 1, {});
      if (below(2) == 0 && queue.begin_settle(lsn, lease.id))
        below(2) == 0 ? (void)queue.remove(lsn, 1)
                      : (void)queue.give_back(lsn, some_state(lease, last), now + DurationMs{below(300)}, now);
    } else if (kind == 6 && last > 0) {
      queue.remove({1 + below(static_cast<std::uint32_t>(last))}, 1);
    } else {
      now = now + DurationMs{below(20)};
      queue.wake(now);
      expired.clear();
      queue.expire(now, 10, expired);
      for (const auto& [lsn, lease] : expired) queue.give_back(lsn, some_state(lease, 1), now, now);
    }
    if (step % 100 != 99) continue;
    for (const MessageState state :
         {MessageState::kReady, MessageState::kDelayed, MessageState::kLeased, MessageState::kDead}) {
      std::vector<Lsn> wanted;
      for (Lsn lsn{1}; lsn.value <= last; ++lsn.value) {
        const auto look = queue.look(lsn);
        if (look && look->state == state) wanted.push_back(lsn);
      }
      const std::size_t most = 1 + below(20);
      std::vector<Lsn> found;
      for (std::optional<PagePlace> place = PagePlace{}; place;) {
        const auto page = queue.page(state, BrowseOrder::kOldest, *place, most);
        REQUIRE(page);
        CHECK(page->lsns.size() <= most);
        found.insert(found.end(), page->lsns.begin(), page->lsns.end());
        place = page->reached;
      }
      CHECK(found == wanted);
      if (state != MessageState::kReady) continue;
      found.clear();
      for (std::optional<PagePlace> place = PagePlace{{}, 9}; place;) {
        const auto page = queue.page(state, BrowseOrder::kNext, *place, most);
        found.insert(found.end(), page->lsns.begin(), page->lsns.end());
        place = page->reached;
      }
      CHECK(found.size() == wanted.size());
      std::sort(found.begin(), found.end());
      CHECK(found == wanted);
    }
  }
}

TEST_CASE("a page reads back as it was written", "[protocol][browse]") {
  const std::string attributes = pack_attributes({.headers = {{"colour", "red"}}, .reply_to = "answers"});
  BrowseWriter writer;
  writer.add(
      {{59}, {1}, MessageState::kLeased, 2, {1763000000123}, 3, {1763000060123}, {1763000030123}, 700, attributes},
      "hello");
  writer.add({{59}, {2}, MessageState::kReady, 0, {1763000000123}, 0, {}, {}, 0, {}}, "");
  const std::string bytes = writer.finish(BrowseCursor{{59}, {2}, 0});
  MsgpackReader reader;
  const auto page = decode_browse(bytes, reader);
  REQUIRE(page);
  CHECK(page->after == "59-2-0");
  REQUIRE(page->messages.size() == 2);
  const Browsed& first = page->messages[0];
  CHECK(first.id == "59-1");
  CHECK(first.state == "leased");
  CHECK(first.lease_until_ms == TimeMs{1763000030123});
  CHECK(first.ready_ms == TimeMs{});
  CHECK(first.expires_ms == TimeMs{1763000060123});
  CHECK(first.priority == 3);
  CHECK(first.size == 700);
  CHECK(first.attributes.reply_to == "answers");
  CHECK(first.attributes.headers == std::vector<HeaderView>{{"colour", "red"}});
  CHECK(page->messages[1].body.empty());
  CHECK(decode_browse(BrowseWriter().finish({}), reader)->after.empty());
}

}  // namespace dmq
