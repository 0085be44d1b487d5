// What clients send when, and what they make of the answers.
#include "tests/sim/clients.hpp"

#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"

namespace dmq::sim {

void Clients::begin(std::vector<QueueName> queues, std::size_t producers, std::size_t consumers) {
  queues_ = std::move(queues);
  for (std::size_t i = 0; i < producers; ++i) {
    const bool named = i % 3 != 2 && !(with_dedup_ && i % 2 == 0);
    producers_.push_back({named ? "p" + std::to_string(i) : "", some_queue()});
    producers_.back().by_id = !named && with_dedup_;
    world_.in(world_.span(0, 49), [this, i] { produce(i); });
  }
  for (std::size_t i = 0; i < consumers; ++i) {
    consumers_.push_back({i < queues_.size() ? queues_[i] : some_queue()});
    world_.in(world_.span(0, 49), [this, i] { receive(i); });
  }
}

// Nobody waits any more for answers that will not come.
void Clients::drain() {
  draining_ = true;
  for (std::size_t i = 0; i < producers_.size(); ++i) {
    if (producers_[i].batch.empty()) continue;
    repeats(producers_[i]) ? send_batch(i) : producers_[i].batch.clear();
  }
  for (std::size_t i = 0; i < consumers_.size(); ++i) receive(i);
}

void Clients::probe() {
  for (const QueueName& queue : queues_) {
    producers_.push_back({"probe-" + queue.name, queue, {1}, {}, true});
    produce(producers_.size() - 1);
  }
}

void Clients::set_dead_letters() {
  with_dead_letters_ = true;
  world_.in(world_.span(0, 499), [this] { redrive(); });
}

// Of messages whose dead-letter queue was deleted nobody else takes care.
void Clients::redrive() {
  for (const QueueName& queue : queues_) {
    if (!draining_ && world_.random.chance(0.5)) continue;
    redrive(queue.name, {});
  }
  world_.in(world_.span(200, 800), [this] { redrive(); });
}

// A page of the queue. The next ones are of its other partitions too.
void Clients::redrive(const std::string& queue, std::string_view after) {
  RequestHeader header;
  header.op = Op::kQueueRedrive;
  header.queue = queue;
  header.max = static_cast<std::uint64_t>(world_.random.between(1, 20));
  header.after = after;
  ask(header, {}, RedriveAsked{queue});
}

void Clients::answered(const RedriveAsked& asked, const ClientFrames& reply) {
  const auto result = reader_.read(reply.payload, {.map_keys = 8, .string_bytes = 64});
  must(result.has_value(), "what a redrive did can be read");
  const msgpack::object* const next = find_key(*result, "next");
  if (next != nullptr) redrive(asked.queue, std::string(*as_text(*next)));
}

void Clients::move(QueueId from, const QueueName& to) {
  const auto moves = [&](QueueName& queue) {
    const bool concerned = queue.id == from;
    if (concerned) queue = to;
    return concerned;
  };
  std::for_each(queues_.begin(), queues_.end(), moves);
  for (Consumer& consumer : consumers_) {
    if (moves(consumer.queue)) consumer.subscribed = 0;
  }
  for (std::size_t i = 0; i < producers_.size(); ++i) {
    Producer& producer = producers_[i];
    if (!moves(producer.queue)) continue;
    if (!producer.name.empty())
      producer.name = producer.name.substr(0, producer.name.find('/')) + "/" + std::to_string(to.id.value);
    producer.next = {1};
    producer.batch.clear();
    ++producer.attempt;
    produce(i);
  }
}

// A producer that waits for an answer sends again, and its message may come into the log yet.
bool Clients::all_confirmed() const {
  return std::all_of(producers_.begin(), producers_.end(),
                     [](const Producer& producer) { return producer.batch.empty(); });
}

void Clients::ask(RequestHeader header, std::string payload, Asked asked) {
  header.id = ++last_id_;
  asked_.emplace(last_id_, std::move(asked));
  pass_on(header, std::move(payload));
}

void Clients::pass_on(const RequestHeader& header, std::string payload) {
  send_(static_cast<std::size_t>(world_.random.below(kRoutersMax)), "c",
        {encode_request_header(header), std::move(payload)});
}

// --- producers -------------------------------------------------------------------------------------------------------

void Clients::produce(std::size_t index) {
  Producer& producer = producers_[index];
  if ((draining_ && !producer.once) || !producer.batch.empty()) return;
  if (producer.once && producer.next.value > 1) return;
  const std::int64_t count = producer.once ? 1 : world_.random.between(1, 3);
  for (std::int64_t i = 0; i < count; ++i) {
    producer.batch.push_back(
        checker_.sent(producer.queue.id, producer.name, some_options(), some_key(producer), producer.by_id));
  }
  producer.begun = world_.now();
  send_batch(index);
}

MessageOptions Clients::some_options() {
  MessageOptions options;
  if (!with_options_ || draining_) return options;
  if (world_.random.chance(0.3)) options.priority = static_cast<Priority>(world_.random.below(kPriorities));
  if (world_.random.chance(0.2)) options.delay_ms = DurationMs{world_.span(1, 300)};
  if (world_.random.chance(0.2)) options.ttl_ms = DurationMs{world_.span(20, 800)};
  return options;
}

// A producer with a name counts for each partition of a queue: this one keeps to the one where its messages without
// keys go.
std::string Clients::some_key(const Producer& producer) {
  if (!with_keys_ || draining_ || world_.random.chance(0.2)) return {};
  std::string key = "k" + std::to_string(world_.random.below(3));
  const QueueSettings& settings = producer.queue.settings;
  const bool elsewhere = part_of_key(ordering_key(key), settings) != part_of_word(producer.name, settings);
  return !producer.name.empty() && elsewhere ? "" : key;
}

void Clients::send_batch(std::size_t index) {
  Producer& producer = producers_[index];
  SendWriter writer;
  for (const MessageIndex message : producer.batch) {
    Attributes attributes;
    attributes.key = checker_.key_of(message);
    MessageOptions options = checker_.options_of(message);
    const std::string dedup_id = checker_.dedup_id_of(message);
    options.dedup_id = dedup_id;
    writer.add(checker_.body_of(message), pack_message_pairs(attributes, options));
  }
  RequestHeader header;
  header.op = Op::kSend;
  header.queue = producer.queue.name;
  header.producer = producer.name;
  if (!producer.name.empty()) header.sequence = producer.next;
  world_.note("send", index, producer.batch.front(), producer.batch.size());
  ask(header, writer.finish(), SendAsked{index, producer.batch});
  // No answer: the same again, or, without a name, the next.
  world_.in(patience(200, 800), [this, index, attempt = ++producer.attempt] {
    Producer& late = producers_[index];
    if (late.attempt != attempt || late.batch.empty()) return;
    if (repeats(late)) return send_batch(index);
    late.batch.clear();
    produce(index);
  });
}

void Clients::answered(const SendAsked& asked, const ReplyHeader& header, const ClientFrames& reply) {
  Producer& producer = producers_[asked.producer];
  const bool current = !producer.batch.empty() && producer.batch.front() == asked.batch.front();
  if (header.code != Errc::kOk) {
    if (!current) return;
    if (header.code == Errc::kOutOfSequence) begin_anew(producer);
    if (!repeats(producer)) producer.batch.clear();
    ++producer.attempt;
    return world_.in(draining_ ? 50 : world_.span(10, 100), [this, index = asked.producer, attempt = producer.attempt] {
      Producer& again = producers_[index];
      if (again.attempt != attempt) return;
      again.batch.empty() ? produce(index) : send_batch(index);
    });
  }
  const auto results = decode_results(reply.payload, reader_);
  must(results && results->size() == asked.batch.size(), "a send has a result for each message");
  bool all = true;
  for (std::size_t i = 0; i < results->size(); ++i) {
    const ItemResult& result = (*results)[i];
    must(result.code == Errc::kOk || spread_, "a message of a send that succeeded is good");
    all &= result.code == Errc::kOk;
    if (result.code != Errc::kOk) continue;  // its partition of the queue did not take it
    if (result.duplicate) {
      checker_.confirmed(asked.batch[i], std::nullopt);
    } else {
      checker_.confirmed(asked.batch[i], Lsn{std::stoull(result.text.substr(result.text.find('-') + 1))});
    }
  }
  if (!current || (!all && repeats(producer))) return;  // it is sent again
  producer.next.value += producer.batch.size();
  producer.batch.clear();
  producer.confirmed = producer.begun;
  ++producer.attempt;
  world_.in(rest_ms(), [this, index = asked.producer] { produce(index); });
}

// It was forgotten. Whether what it sent last is in the log, nobody can tell any more.
void Clients::begin_anew(Producer& producer) const {
  if (world_.now() - producer.confirmed <= producer_idle_ms_) violated("a producer that resent all is out of sequence");
  producer.name += "+";
  producer.next = {1};
  producer.batch.clear();
}

std::int64_t Clients::patience(std::int64_t least, std::int64_t most) const {
  return draining_ ? 250 : world_.span(least, most);
}

std::int64_t Clients::rest_ms() const {
  const bool long_rest = producer_idle_ms_ != INT64_MAX && world_.random.chance(0.1);
  return long_rest ? world_.random.between(producer_idle_ms_, 2 * producer_idle_ms_) : world_.span(1, 150);
}

// --- consumers -------------------------------------------------------------------------------------------------------

void Clients::receive(std::size_t index) {
  if (with_push_ && index % 2 == 1) return subscribe(index);
  Consumer& consumer = consumers_[index];
  RequestHeader header;
  header.op = Op::kReceive;
  header.queue = consumer.queue.name;
  header.max = static_cast<std::uint64_t>(world_.random.between(1, draining_ ? 20 : 4));
  header.wait_ms = DurationMs{draining_ ? 100 : world_.span(0, 200)};
  header.lease_ms = DurationMs{kLeaseMsMin + world_.span(0, 300)};
  header.ack_on_delivery = on_delivery_ && world_.random.chance(0.3);
  if (header.ack_on_delivery) checker_.may_lose(consumer.queue.id);  // with the reply
  if (with_attempts_ && !header.ack_on_delivery) name_itself(index, header);
  std::int64_t least_ms = header.lease_ms->value;
  if (!header.consumer.empty()) least_ms = kLeaseMsMin;  // others of that name may say how long it is silent
  ask(header, {},
      ReceiveAsked{index, header.lease_ms->value, ++consumer.attempt, least_ms, header.ack_on_delivery,
                   std::string(header.attempt)});
  world_.in(patience(300, 600), [this, index, attempt = consumer.attempt] {
    if (consumers_[index].attempt == attempt) receive(index);
  });
}

// An attempt is repeated until it has an answer.
void Clients::name_itself(std::size_t index, RequestHeader& header) {
  Consumer& consumer = consumers_[index];
  if (consumer.repeats.empty() && world_.random.chance(0.5))
    consumer.repeats = std::to_string(index) + "." + std::to_string(consumer.attempt);
  header.attempt = consumer.repeats;
  if (!header.attempt.empty()) ++attempts_[consumer.repeats];
  if (!world_.random.chance(0.5)) return;
  header.consumer = index % 3 == 0 ? "x" : "y";
  if (world_.random.chance(0.5)) header.heartbeat_ms = DurationMs{kLeaseMsMin + world_.span(0, 200)};
}

// Again and again, with the same id and lease, and another credit each time.
void Clients::subscribe(std::size_t index) {
  Consumer& consumer = consumers_[index];
  if (consumer.subscribed == 0) {
    consumer.lease_ms = kLeaseMsMin + world_.span(0, 300);
    consumer.subscribed = ++last_id_;
    asked_.emplace(last_id_, SubscribeAsked{index, consumer.queue, consumer.lease_ms});
  }
  RequestHeader header;
  header.op = Op::kSubscribe;
  header.id = consumer.subscribed;
  header.queue = consumer.queue.name;
  const std::string name = "s" + std::to_string(consumer.subscribed);
  header.subscription = name;
  header.credit = static_cast<std::uint64_t>(draining_ ? 20 : world_.random.below(6));
  header.wait_ms = DurationMs{kSubscriptionMsMin};
  header.lease_ms = DurationMs{consumer.lease_ms};
  world_.note("subscribe", index, *header.credit);
  pass_on(header, {});
  world_.in(patience(100, 600), [this, index, attempt = ++consumer.attempt] {
    if (consumers_[index].attempt == attempt) receive(index);
  });
}

void Clients::answered(const SubscribeAsked& asked, const ReplyHeader& header, const ClientFrames& reply, Moment sent) {
  if (header.code == Errc::kOk) treat(asked.queue, take_messages(reply, asked.lease_ms, false, sent), asked.lease_ms);
  if (header.more) return;
  Consumer& consumer = consumers_[asked.consumer];
  world_.in(draining_ ? 10 : world_.span(1, 100), [this, index = asked.consumer, attempt = ++consumer.attempt] {
    if (consumers_[index].attempt == attempt) receive(index);
  });
}

// As from one reply.
std::vector<Clients::Held> Clients::take_messages(const ClientFrames& reply, std::optional<std::int64_t> lease_ms,
                                                  bool again, Moment sent) {
  std::vector<Delivery> messages;
  must(decode_deliveries(reply.payload, reader_, messages).has_value(), "deliveries are well-formed");
  must(again || std::is_sorted(messages.begin(), messages.end(),
                               [](const Delivery& a, const Delivery& b) { return a.priority > b.priority; }),
       "higher priorities are delivered first");
  std::vector<Held> held;
  for (const Delivery& message : messages) {
    const auto receipt = parse_receipt(message.receipt);
    must(receipt.has_value(), "a receipt is one");
    const MessageIndex index = checker_.delivered(message, *receipt, lease_ms, sent, again);
    held.push_back({index, std::string(message.receipt)});
    world_.note("delivered", held.back().message, receipt->epoch.value, message.deliveries);
  }
  return held;
}

void Clients::answered(const ReceiveAsked& asked, const ReplyHeader& header, const ClientFrames& reply, Moment sent) {
  Consumer& consumer = consumers_[asked.consumer];
  if (header.code == Errc::kOk && !reply.payload.empty()) {
    // Of one that was repeated, which request came first the network decided: it may be the rest of another's.
    const bool repeated = !asked.name.empty() && attempts_[asked.name] > 1;
    const auto lease = asked.on_delivery ? std::nullopt : std::optional(repeated ? 0 : asked.least_ms);
    std::vector<Held> held = take_messages(reply, lease, !asked.name.empty(), sent);
    if (!asked.on_delivery) treat(consumer.queue, std::move(held), asked.lease_ms);
  }
  if (asked.attempt != consumer.attempt) return;
  consumer.repeats.clear();
  ++consumer.attempt;
  world_.in(draining_ ? 10 : world_.span(header.code == Errc::kOk ? 1 : 20, 100),
            [this, index = asked.consumer] { receive(index); });
}

// Acks at once, late, twice; gives back at once or for later; forgets.
void Clients::treat(const QueueName& queue, std::vector<Held> held, std::int64_t lease_ms) {
  std::vector<Held> at_once;
  const auto later = [&](std::int64_t ms, Op op, const Held& one) {
    world_.in(ms, [this, queue, op, one] { settle(queue, op, {one}); });
  };
  for (Held& one : held) {
    const std::int64_t habit = draining_ ? 0 : world_.random.below(20);
    if (habit == 13) {
      later(lease_ms + world_.span(-50, 200), Op::kAck, one);
    } else if (habit == 14) {
      later(world_.random.below(lease_ms * 2), Op::kAck, one);
      at_once.push_back(std::move(one));
    } else if (habit == 15) {
      later(world_.random.below(lease_ms), Op::kExtend, one);
      later(lease_ms + world_.random.below(lease_ms), Op::kAck, one);
    } else if (habit == 16 || habit == 17) {
      nack(queue, std::move(one));
    } else if (habit < 18) {
      at_once.push_back(std::move(one));
    }
  }
  std::vector<Held>& kept = kept_[queue.name];
  std::move(at_once.begin(), at_once.end(), std::back_inserter(kept));
  if (kept.empty() || (spread_ && !draining_ && world_.random.chance(0.4))) return;
  settle(queue, Op::kAck, std::exchange(kept, {}));
}

void Clients::nack(const QueueName& queue, Held held) {
  RequestHeader header;
  header.op = Op::kNack;
  header.queue = queue.name;
  if (with_dead_letters_) header.kind = static_cast<NackKind>(world_.random.below(3));
  if (header.kind != NackKind::kFatal) {
    header.delay_ms = DurationMs{world_.random.chance(0.5) ? 0 : world_.span(1, 500)};
  }
  checker_.lease_changed(held.message, *parse_receipt(held.receipt));
  world_.note("nack", static_cast<std::uint64_t>(header.kind), held.message);
  ask(header, encode_receipts(std::vector<std::string>{held.receipt}), OtherAsked{});
}

void Clients::settle(const QueueName& queue, Op op, std::vector<Held> held) {
  RequestHeader header;
  header.op = op;
  header.queue = queue.name;
  if (op == Op::kExtend) header.lease_ms = DurationMs{kLeaseMsMin + world_.span(0, 200)};
  std::vector<std::string> receipts;
  for (const Held& one : held) {
    receipts.push_back(one.receipt);
    op == Op::kAck ? checker_.ack_asked(one.message) : checker_.lease_changed(one.message, *parse_receipt(one.receipt));
  }
  world_.note("settle", static_cast<std::uint64_t>(op), held.front().message, held.size());
  Asked asked = op == Op::kAck ? Asked(AckAsked{std::move(held)}) : Asked(OtherAsked{});
  ask(header, encode_receipts(receipts), std::move(asked));
}

void Clients::answered(const AckAsked& asked, const ReplyHeader& header, const ClientFrames& reply) {
  const auto partition_of = [](const Held& one) { return parse_receipt(one.receipt)->partition; };
  const bool together = std::all_of(asked.held.begin(), asked.held.end(), [&](const Held& one) {
    return partition_of(one) == partition_of(asked.held.front());
  });
  // Refused before anything was done; of several partitions the first one tells, and what the others did nobody knows.
  if (header.code == Errc::kNotEnoughReplicas && together) {
    for (const Held& one : asked.held) checker_.ack_refused(one.message);
  }
  if (header.code != Errc::kOk) return;
  const auto results = decode_results(reply.payload, reader_);
  must(results && results->size() == asked.held.size(), "an ack has a result for each receipt");
  for (std::size_t i = 0; i < results->size(); ++i) {
    const Held& one = asked.held[i];
    const Errc code = (*results)[i].code;
    must(code == Errc::kOk || code == Errc::kStaleReceipt || spread_, "an ack is good or stale");
    const bool refused = code == Errc::kStaleReceipt || code == Errc::kNotEnoughReplicas;
    if (code != Errc::kOk && !refused) continue;  // nobody knows
    if (code == Errc::kOk) {
      world_.note("acked", one.message);
      checker_.ack_done(one.message, *parse_receipt(one.receipt));
    } else {
      world_.note("stale", one.message);
      checker_.ack_refused(one.message);
    }
  }
}

void Clients::purge(const QueueName& queue) {
  RequestHeader header;
  header.op = Op::kQueuePurge;
  header.queue = queue.name;
  checker_.purge_asked(queue.id);
  world_.note("purge", queue.id.value);
  ask(header, {}, PurgeAsked{queue.id, world_.mark()});
}

bool Clients::take_reply(const ClientFrames& reply, Moment sent) {
  const auto header = decode_reply_header(reply.header, reader_);
  must(header && std::holds_alternative<std::uint64_t>(header->id), "a reply is well-formed");
  const auto found = asked_.find(std::get<std::uint64_t>(header->id));
  must(found != asked_.end(), "a reply comes once, and to a request");
  const auto* subscribe = std::get_if<SubscribeAsked>(&found->second);
  const bool gets = subscribe != nullptr || std::holds_alternative<ReceiveAsked>(found->second);
  if (gets && vanishing_ > 0 && world_.random.chance(vanishing_)) return false;
  if (subscribe != nullptr) {
    answered(*subscribe, *header, reply, sent);
    return true;
  }
  const Asked asked = std::move(found->second);
  asked_.erase(found);
  if (const auto* what = std::get_if<SendAsked>(&asked)) answered(*what, *header, reply);
  if (const auto* what = std::get_if<ReceiveAsked>(&asked)) answered(*what, *header, reply, sent);
  if (const auto* what = std::get_if<AckAsked>(&asked)) answered(*what, *header, reply);
  const auto* redrive = std::get_if<RedriveAsked>(&asked);
  if (redrive != nullptr && header->code == Errc::kOk) answered(*redrive, reply);
  const auto* purge = std::get_if<PurgeAsked>(&asked);
  if (purge != nullptr && header->code == Errc::kOk) checker_.purge_done(purge->queue, purge->mark);
  return true;
}

}  // namespace dmq::sim
