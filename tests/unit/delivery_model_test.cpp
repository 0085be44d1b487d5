// The request core against a naive model: dedup ids, attempts and subscriptions under random requests and times.
#include <algorithm>
#include <catch2/catch.hpp>
#include <list>
#include <random>
#include <sstream>

#include "tests/unit/service_script.hpp"

namespace dmq {
namespace {

constexpr std::int64_t kWindowMs = 400;
constexpr std::int64_t kLeaseMs = 200;
constexpr std::int64_t kLastsMs = 2000;

// A message of the model. They are in the order of their sending.
struct Kept {
  std::string body;
  std::string id;      // empty: none
  std::string holder;  // of the lease: a subscription, or "-"; empty: it is ready
  std::int64_t until = 0;
  std::string receipt;
};

struct Waiting {
  std::string name;
  std::uint64_t credit = 0;
  std::int64_t until = 0;
};

struct Attempt {
  std::int64_t until = 0;
  std::vector<std::string> bodies;
};

// What is said: one line for each reply, "name: bodies".
struct Model {
  DedupMode mode = DedupMode::kWindow;
  std::list<Kept> messages;
  std::vector<Waiting> line;  // whose turn it is first
  std::map<std::string, std::string> newest;
  std::map<std::string, std::int64_t> taken;  // when each id was
  std::map<std::string, Attempt> attempts;
  std::int64_t now = 0;

  Kept* find(const std::string& body) {
    const auto at = std::find_if(messages.begin(), messages.end(), [&](const Kept& each) { return each.body == body; });
    return at == messages.end() ? nullptr : &*at;
  }
  // False: it is a duplicate.
  bool send(const std::string& body, const std::string& id) {
    const auto same = [&](const Kept& each) { return !id.empty() && each.id == id; };
    const bool is_there = std::any_of(messages.begin(), messages.end(), same);
    if (!id.empty() && mode == DedupMode::kWhilePresent && is_there) return false;
    if (!id.empty() && mode == DedupMode::kWindow && taken.contains(id) && now - taken[id] < kWindowMs) return false;
    if (mode == DedupMode::kReplace && !id.empty()) {
      messages.remove_if([&](const Kept& each) { return each.body == newest[id] && each.holder.empty(); });
      newest[id] = body;
    }
    if (!id.empty()) taken[id] = now;
    messages.push_back({body, id});
    return true;
  }
  std::string lease(std::uint64_t most, const std::string& holder) {
    std::string bodies;
    for (Kept& each : messages) {
      if (most == 0) break;
      if (!each.holder.empty()) continue;
      each.holder = holder;
      each.until = now + kLeaseMs;
      bodies += " " + each.body;
      --most;
    }
    return bodies;
  }
  std::uint64_t held(const std::string& holder) const {
    return static_cast<std::uint64_t>(
        std::count_if(messages.begin(), messages.end(), [&](const Kept& each) { return each.holder == holder; }));
  }
  void push(std::string& said) {
    for (std::size_t passed = 0; passed < line.size();) {
      const Waiting next = line[passed];
      const std::uint64_t has = held(next.name);
      const std::string bodies = has >= next.credit ? "" : lease(next.credit - has, next.name);
      if (bodies.empty()) {
        ++passed;
        continue;
      }
      said += next.name + ":" + bodies + "\n";
      line.erase(line.begin() + static_cast<std::ptrdiff_t>(passed));
      line.push_back(next);
    }
  }
  void pass(std::int64_t ms, std::string& said) {
    now += ms;
    std::vector<Waiting> ended;
    std::erase_if(line, [&](const Waiting& each) {
      if (each.until <= now) ended.push_back(each);
      return each.until <= now;
    });
    std::stable_sort(ended.begin(), ended.end(), [](const auto& a, const auto& b) { return a.until < b.until; });
    for (const Waiting& each : ended) said += each.name + " ended:\n";
    for (Kept& each : messages) {
      if (!each.holder.empty() && each.until <= now) each.holder.clear();
    }
    push(said);
  }
};

// The core, told the same.
class Driver : public ServiceScript {
 public:
  explicit Driver(DedupMode mode) {
    QueueSettings settings;
    settings.dedup = {mode, DurationMs{kWindowMs}};
    set(settings);
  }
  // What each reply says; `mine`: the name of the one to this request.
  std::string ask(RequestHeader header, std::string payload, const std::string& mine) {
    header.queue = "q";
    const std::uint64_t id = ++last_id;
    header.id = id;
    names_[id] = mine;
    Envelope envelope;
    envelope.queue = {1};
    const std::string bytes = encode_request_header(header);
    service.handle({{"router", encode_envelope(envelope)}, envelope, bytes, payload}, now, turn, outbox);
    commit();
    return said();
  }
  std::string pass(std::int64_t ms) {
    now.steady = now.steady + DurationMs{ms};
    now.wall = now.wall + DurationMs{ms};
    service.tick(now, turn, outbox);
    commit();
    return said();
  }
  std::map<std::string, std::string> receipts_of;  // the last one of each body

 private:
  std::string said() {
    std::string out;
    MsgpackReader reader;
    for (const Reply& reply : std::exchange(outbox.replies, {})) {
      const auto header = decode_reply_header(reply.header, reader);
      const std::string& name = names_.at(std::get<std::uint64_t>(header->id));
      out += name;
      if (name.starts_with("sub") && !header->more) out += " ended";
      out += ":";
      std::vector<Delivery> messages;
      if (decode_deliveries(reply.payload, reader, messages)) {
        for (const Delivery& message : messages) {
          out += " " + std::string(message.body);
          receipts_of[std::string(message.body)] = message.receipt;
        }
      } else if (const auto results = decode_results(reply.payload, reader)) {
        for (const ItemResult& result : *results)
          out += result.duplicate ? " duplicate" : result.code == Errc::kOk ? " ok" : " stale";
      }
      out += "\n";
    }
    return out;
  }
  std::map<std::uint64_t, std::string> names_;
};

void random_walk(std::uint64_t seed, int steps) {
  std::mt19937_64 random(seed);
  const auto pick = [&](std::uint64_t below) { return random() % below; };
  Model model;
  model.mode = static_cast<DedupMode>(seed % 3);
  Driver core(model.mode);
  std::uint64_t next_body = 0;
  for (int step = 0; step < steps; ++step) {
    std::string expected;
    std::string told;
    RequestHeader header;
    switch (pick(8)) {
      case 0:
      case 1: {
        SendWriter writer;
        expected = "send:";
        for (std::uint64_t left = 1 + pick(3); left > 0; --left) {
          const std::string body = std::to_string(next_body++);
          const std::string id = pick(3) == 0 ? "" : std::string(1, static_cast<char>('a' + pick(4)));
          MessageOptions options;
          options.dedup_id = id;
          writer.add(body, pack_message_pairs({}, options));
          expected += model.send(body, id) ? " ok" : " duplicate";
        }
        expected += "\n";
        model.push(expected);
        header.op = Op::kSend;
        told = core.ask(header, writer.finish(), "send");
        break;
      }
      case 2:
      case 3: {
        header.op = Op::kReceive;
        header.max = 1 + pick(3);
        header.lease_ms = DurationMs{kLeaseMs};
        const std::string name = pick(2) == 0 ? "" : std::string(1, static_cast<char>('x' + pick(2)));
        header.attempt = name;
        std::string bodies;
        if (const auto known = model.attempts.find(name);
            known != model.attempts.end() && known->second.until > model.now) {
          for (const std::string& body : known->second.bodies) {
            const Kept* const kept = model.find(body);
            if (kept != nullptr && kept->holder == "attempt " + name && kept->until == known->second.until)
              bodies += " " + body;
          }
        }
        if (bodies.empty()) {
          bodies = model.lease(header.max, name.empty() ? "-" : "attempt " + name);
          if (!bodies.empty() && !name.empty()) {
            Attempt& attempt = model.attempts[name] = {model.now + kLeaseMs, {}};
            std::istringstream words(bodies);
            for (std::string body; words >> body;) attempt.bodies.push_back(body);
          }
        }
        expected = "receive:" + bodies + "\n";
        told = core.ask(header, {}, "receive");
        break;
      }
      case 4:
      case 5: {  // of a lease that lasts, or of any
        if (core.receipts_of.empty()) break;
        std::vector<std::string> bodies;
        for (const Kept& each : model.messages) {
          if (!each.holder.empty()) bodies.push_back(each.body);
        }
        const bool lasts = !bodies.empty() && pick(4) != 0;
        const auto some =
            std::next(core.receipts_of.begin(), static_cast<std::ptrdiff_t>(pick(core.receipts_of.size())));
        const std::string body = lasts ? bodies[pick(bodies.size())] : some->first;
        Kept* const kept = model.find(body);
        const bool good = kept != nullptr && !kept->holder.empty();
        header.op = pick(3) == 0 ? Op::kNack : Op::kAck;
        expected = good ? "settle: ok\n" : "settle: stale\n";
        if (good && header.op == Op::kNack) kept->holder.clear();
        if (good && header.op == Op::kAck)
          model.messages.remove_if([&](const Kept& each) { return each.body == body; });
        model.push(expected);
        told = core.ask(header, encode_receipts(std::vector{core.receipts_of.at(body)}), "settle");
        break;
      }
      case 6: {
        const auto ms = static_cast<std::int64_t>(pick(150));
        model.pass(ms, expected);
        told = core.pass(ms);
        break;
      }
      default: {
        const std::string name = pick(2) == 0 ? "sub1" : "sub2";
        const auto at =
            std::find_if(model.line.begin(), model.line.end(), [&](const Waiting& each) { return each.name == name; });
        const bool was = at != model.line.end();
        if (was) {
          model.line.erase(at);
          expected = name + " ended:\n";
        }
        header.op = pick(4) == 0 ? Op::kUnsubscribe : Op::kSubscribe;
        header.subscription = name;
        if (header.op == Op::kUnsubscribe) {
          expected += "unsubscribe:\n";
          told = core.ask(header, {}, "unsubscribe");
          // What it holds is nobody's, should another one have its name.
          for (Kept& each : model.messages) {
            if (each.holder == name) each.holder = "-";
          }
          break;
        }
        if (!was) {
          for (Kept& each : model.messages) {
            if (each.holder == name) each.holder = "-";
          }
        }
        const Waiting waiting{name, pick(5), model.now + kLastsMs};
        const std::uint64_t has = model.held(name);
        expected += name + ":" + (has >= waiting.credit ? "" : model.lease(waiting.credit - has, name)) + "\n";
        model.line.push_back(waiting);
        model.push(expected);
        header.credit = waiting.credit;
        header.lease_ms = DurationMs{kLeaseMs};
        header.wait_ms = DurationMs{kLastsMs};
        told = core.ask(header, {}, name);
      }
    }
    INFO("step " << step);
    REQUIRE(told == expected);
  }
}

}  // namespace

TEST_CASE("the request core does what a naive model does", "[storage][model]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    random_walk(seed, 500);
  }
}

TEST_CASE("the request core does what a naive model does, for a million steps", "[storage][model][model-long]") {
  const std::uint64_t first = std::random_device{}();
  for (std::uint64_t seed = first; seed < first + 500; ++seed) {
    INFO("seed " << seed);
    random_walk(seed, 2000);
  }
}

}  // namespace dmq
