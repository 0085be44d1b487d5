// What clients were told about each message, against what is committed.
#include <algorithm>
#include <charconv>

#include "tests/sim/checker.hpp"

namespace dmq::sim {

MessageIndex Checker::sent(QueueId queue, const std::string& producer, const MessageOptions& options, std::string key,
                           bool by_id) {
  messages_.push_back({.queue = queue,
                       .options = options,
                       .key = std::move(key),
                       .idempotent = !producer.empty(),
                       .by_id = by_id,
                       .sent_to = queue});
  return messages_.size() - 1;
}

// Where clocks jump, nobody can say when a leader takes it for expired.
bool Checker::is_expired(const Message& message) const {
  if (message.expires_ms.value == 0) return false;
  return clocks_jump_ || kWallStart + DurationMs{world_.now()} >= message.expires_ms;
}

bool Checker::may_be_gone(const Message& message) const {
  return message.acked || message.acks_open > 0 || message.repeated || is_expired(message) || is_purged(message) ||
         lossy_.contains(message.queue);
}

bool Checker::is_purged(const Message& message) const {
  return message.place && is_purged(message.queue, *message.place);
}

bool Checker::is_purged(QueueId queue, RecordPlace place) const {
  const auto purge = purges_.find(queue);
  if (purge == purges_.end()) return false;
  const auto below = purge->second.find(place.partition);
  return below != purge->second.end() && place.lsn < below->second;
}

std::string Checker::body_of(MessageIndex message) const {
  return std::to_string(message) + ":" + std::string(message * 7 % 40, static_cast<char>('a' + message % 26));
}

std::optional<MessageIndex> Checker::index_of(std::string_view body) const {
  MessageIndex index = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), index);
  if (error != std::errc() || index >= messages_.size() || body != body_of(index)) return std::nullopt;
  return index;
}

void Checker::confirmed(MessageIndex index, std::optional<Lsn> lsn) {
  Message& message = messages_[index];
  if (!message.confirmed) message.confirmed_mark = world_.mark();
  message.confirmed = true;
  const std::string which = " (message " + std::to_string(index) + ")";
  const bool may_have_gone = purges_.contains(message.queue) || lossy_.contains(message.queue);
  if (!message.place && may_have_gone) {  // before its record was seen
    message.repeated = true;
    return;
  }
  if (!message.place) violated("a message is confirmed that is not committed" + which);
  if (lsn && message.first->lsn != *lsn && !message.repeated)
    violated("a message is confirmed under another's LSN" + which);
}

MessageIndex Checker::delivered(const Delivery& delivery, const Receipt& receipt, std::optional<std::int64_t> lease_ms,
                                Moment sent, bool again) {
  const auto index = index_of(delivery.body);
  if (!index) violated("a message is delivered that nobody sent");
  Message& message = messages_[*index];
  if (message.repeated) return *index;
  const std::string which = " (message " + std::to_string(*index) + ")";
  if (message.place != RecordPlace{receipt.partition, receipt.lsn}) {
    // The reply was late, or of a deposed leader that does not know that the message left.
    const auto before = message.before.find({receipt.partition, receipt.lsn});
    const auto left = message.left.find(receipt.partition);
    if (before != message.before.end() && sent.mark <= before->second) return *index;
    // Whether a queue that is deleted had it already, nobody can tell any more.
    const bool lost = std::any_of(message.visited.begin(), message.visited.end(),
                                  [this](QueueId queue) { return deleted_.contains(queue); });
    if (before != message.before.end() && lost) {
      message.repeated = true;
      return *index;
    }
    if (left != message.left.end() && receipt.epoch < left->second) return *index;
    violated("a message is delivered that is not committed, or from another place" + which +
             (message.place ? at(*message.place) : "") + " delivered" + at({receipt.partition, receipt.lsn}));
  }
  // A deposed leader may deliver again what it does not know to be done.
  if (message.acked && sent.mark > message.acked_mark && receipt.epoch >= message.acked_epoch) {
    violated("a message is delivered after its ack was confirmed" + which);
  }
  if (message.purged && sent.mark > message.purged_mark && receipt.epoch >= message.purged_epoch) {
    violated("a message is delivered after a purge was confirmed" + which);
  }
  const TimeMs wall = kWallStart + DurationMs{sent.ms};
  if (!clocks_jump_ && wall < message.ready_ms) violated("a message is delivered before its time" + which);
  // With a key it is judged when its lease is written (learn_lease), and on delivery when its ack is.
  const bool judged = lease_ms && !again && message.key.empty() && !clocks_jump_ && message.expires_ms.value != 0;
  if (judged && wall >= message.expires_ms) {
    violated("an expired message is delivered" + which);
  }
  if (delivery.priority != message.options.priority) violated("a message has another priority" + which);
  if (!lease_ms) {
    if (message.given_away) violated("a message that is to be delivered at most once is delivered twice" + which);
    message.given_away = message.acked = true;
    message.acked_mark = sent.mark;
    message.acked_epoch = receipt.epoch;
    return *index;
  }
  const Hold hold{receipt.epoch, receipt.lease, sent.ms, sent.ms + *lease_ms, delivery.deliveries};
  for (const Hold& other : message.holds) {
    if (again && hold.place() == other.place()) return *index;
    hold.place() < other.place() ? check_lease(hold, other, which) : check_lease(other, hold, which);
  }
  if (delivery.attributes.key != message.key) violated("a message has another key" + which);
  check_key(message, *index, receipt, hold);
  message.holds.push_back(hold);
  return *index;
}

// Its lease was committed before it left, and while it lasts no other message of its key is out, whoever leads.
void Checker::check_key(const Message& message, MessageIndex index, const Receipt& receipt, const Hold& hold) {
  if (message.key.empty() || is_purged(message)) return;
  // What a purge took away where a replica was alone cannot be told.
  if (purges_.contains(message.queue) && logs_.at(receipt.partition).incomplete) return;
  for (MessageIndex i = 0; i < messages_.size(); ++i) {
    const Message& other = messages_[i];
    if (i == index || other.key != message.key || other.queue != message.queue || other.repeated) continue;
    if (other.acked || other.acks_open > 0 || is_purged(other)) continue;
    for (const Hold& held : other.holds) {
      if (held.from < hold.until && hold.from < held.until) {
        violated("two messages of a key are with consumers (messages " + std::to_string(i) + " and " +
                 std::to_string(index) + ", epoch " + std::to_string(receipt.epoch.value) + ")");
      }
    }
  }
}

void Checker::check_lease(const Hold& earlier, const Hold& later, const std::string& which) const {
  if (earlier.place() == later.place()) violated("a lease is given twice" + which);
  if (earlier.deliveries > later.deliveries && !dead_letters_)
    violated("the delivery count that consumers see falls" + which);
  // Between two leaders there may be two leases; of the deposed one's nothing comes any more.
  if (earlier.epoch == later.epoch && later.from < earlier.until) violated("two leases of a message overlap" + which);
}

void Checker::lease_changed(MessageIndex message, const Receipt& receipt) {
  for (Hold& hold : messages_[message].holds) {
    if (hold.place() == std::pair(receipt.epoch, receipt.lease)) hold.until = hold.from;
  }
}

void Checker::ack_done(MessageIndex index, const Receipt& receipt) {
  Message& message = messages_[index];
  --message.acks_open;
  if (message.acked && !message.repeated && !message.given_away)
    violated("two acks of one message are confirmed (message " + std::to_string(index) + ")");
  message.acked = true;
  message.acked_mark = world_.mark();
  message.acked_epoch = receipt.epoch;
}

void Checker::purge_done(QueueId queue, std::uint64_t asked_mark) {
  if (deleted_.contains(queue)) return;
  for (MessageIndex i = 0; i < messages_.size(); ++i) {
    Message& message = messages_[i];
    const bool before = message.confirmed && std::max(message.confirmed_mark, message.arrived_mark) < asked_mark;
    if (message.queue != queue || message.purged || message.repeated || !before) continue;
    const auto grown = grown_.find(queue);
    if (grown != grown_.end() && message.place->partition != grown->second) continue;
    if (!is_purged(queue, *message.place)) {
      violated("a purge is confirmed that spares a message (message " + std::to_string(i) + ")");
    }
    message.purged = true;
    message.purged_mark = world_.mark();
    message.purged_epoch = metad_.partition(message.place->partition).epoch;
  }
}

std::size_t Checker::unsettled() const {
  std::size_t count = 0;
  for (const Message& message : messages_) {
    count += message.confirmed && !may_be_gone(message) && !deleted_.contains(message.queue) ? 1 : 0;
  }
  return count;
}

void Checker::check_nothing_lost() const {
  for (MessageIndex i = 0; i < messages_.size(); ++i) {
    const Message& message = messages_[i];
    if (!message.confirmed || may_be_gone(message) || deleted_.contains(message.queue)) continue;
    violated("a confirmed message is gone although no ack can have removed it (message " + std::to_string(i) + ")");
  }
}

}  // namespace dmq::sim
