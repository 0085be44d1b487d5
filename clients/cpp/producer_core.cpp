// See producer_core.hpp; what happens when a try does not succeed is in producer_repeat.cpp.
#include "clients/cpp/producer_core.hpp"

#include <algorithm>
#include <stdexcept>

#include "protocol/limits.hpp"

namespace dmq {
namespace {

void require(bool holds) {
  if (!holds) throw std::logic_error("an invariant of the producer core does not hold");
}

}  // namespace

ProducerCore::ProducerCore(std::string producer, ProducerLimits limits)
    : producer_(std::move(producer)),
      limits_(limits),
      seal_count_(std::clamp<std::size_t>(limits.window / 2, 1, std::min(limits.batch_messages, kBatchMessagesMax))) {}

bool ProducerCore::has_room(std::size_t bytes) const {
  return unconfirmed_ == 0 || (unconfirmed_ < limits_.window && unconfirmed_bytes_ + bytes <= limits_.window_bytes);
}

ProducerCore::Stream& ProducerCore::stream_of(const Message& message) {
  // Most programs send to one queue: the last used one is looked at before the map.
  if (!active_.empty()) {
    Stream& last = *active_.back();
    if (last.queue == message.queue && last.by_id == message.by_id && last.lane == message.lane) return last;
  }
  auto& stream = streams_[{std::string(message.queue), message.by_id, message.lane}];
  if (stream == nullptr) {
    stream = std::make_unique<Stream>();
    stream->queue = message.queue;
    stream->by_id = message.by_id;
    stream->lane = message.lane;
    stream->producer = producer_for(message.by_id);
  }
  if (!stream->active) active_.push_back(stream.get());
  stream->active = true;
  return *stream;
}

void ProducerCore::add(const Message& message, SendCallback done, bool more, TimeMs now) {
  Stream& stream = stream_of(message);
  SendWriter& gathered = stream.gathered;
  const std::size_t bytes = message.body.size() + message.pairs.size();
  if (gathered.count() != 0 && gathered.bytes() + bytes > limits_.batch_bytes) seal(stream);
  if (gathered.count() == 0) stream.gathered_since = now;
  if (done) {
    stream.callbacks.resize(gathered.count());
    stream.callbacks.push_back(std::move(done));
  }
  const std::size_t before = gathered.bytes();
  gathered.add(message.body, message.pairs);
  ++unconfirmed_;
  unconfirmed_bytes_ += gathered.bytes() - before;
  stream.more = more;
  consider_sealing(stream, false);
}

void ProducerCore::end_of_input() {
  for (Stream* stream : active_) {
    if (!stream->more) continue;
    stream->more = false;
    consider_sealing(*stream, false);
  }
}

void ProducerCore::consider_sealing(Stream& stream, bool reply_came) {
  const std::size_t count = stream.gathered.count();
  if (count == 0) return;
  const bool full = count >= seal_count_ || stream.gathered.bytes() >= limits_.batch_bytes;
  const bool alone = stream.batches.empty() && !stream.more;
  if (full || alone || (reply_came && !stream.more)) seal(stream);
}

void ProducerCore::seal(Stream& stream) {
  Batch& batch = stream.batches.emplace_back();
  batch.count = stream.gathered.count();
  batch.payload = std::make_shared<const std::string>(stream.gathered.finish());
  batch.callbacks.swap(stream.callbacks);
  if (!batch.callbacks.empty()) batch.callbacks.resize(batch.count);
  batch.give_up_at = stream.gathered_since + limits_.retry_for;
}

std::optional<SendRequest> ProducerCore::next_request(std::uint64_t& next_id, TimeMs now) {
  for (Stream* stream : active_) {
    resend_if_due(*stream, now);
    if (stream->resend_at) continue;
    for (Batch& batch : stream->batches) {
      if (batch.request != 0 || (stream->draining && batch.first.value == 0)) continue;
      if (batch.first.value == 0) {
        batch.first = stream->next;
        stream->next.value += batch.count;
      }
      batch.request = next_id++;
      batch.sent_at = now;
      return SendRequest{batch.request, stream->queue, stream->producer, batch.first, batch.payload};
    }
  }
  return std::nullopt;
}

void ProducerCore::take_back() {
  Batch* last = nullptr;
  for (Stream* stream : active_) {
    for (Batch& batch : stream->batches) {
      if (batch.request != 0 && (last == nullptr || batch.request > last->request)) last = &batch;
    }
  }
  if (last != nullptr) last->request = 0;
}

bool ProducerCore::on_reply(std::uint64_t id, const Error& answer, bool retry, TimeMs now,
                            std::vector<BatchOutcome>& outcomes) {
  for (Stream* stream : active_) {
    const auto batch = std::find_if(stream->batches.begin(), stream->batches.end(),
                                    [id](const Batch& each) { return each.request == id; });
    if (batch == stream->batches.end()) continue;
    const auto index = static_cast<std::size_t>(batch - stream->batches.begin());
    if (answer.code == Errc::kOk) {
      stream->tries = 0;
      stream->last_answer.reset();
      end_batch(*stream, index, std::nullopt, outcomes);
    } else if (answer.code == Errc::kOutOfSequence) {
      return on_out_of_sequence(*stream, index, answer, outcomes);
    } else if (retry) {
      batch->request = 0;
      // `unavailable` may come from a router that lost sight of the worker; the others are a plain no.
      batch->uncertain = batch->uncertain || answer.code == Errc::kUnavailable;
      stream->last_answer = failure_of(answer, true);
      schedule_resend(*stream, now);
    } else {
      stream->draining = true;
      Failure failure = failure_of(answer, false);
      // The refusal is of this try: an earlier one went unanswered and may have been taken.
      if (batch->uncertain) failure = unconfirmed_failure(stream->queue, failure.message);
      end_batch(*stream, index, std::move(failure), outcomes);
    }
    renew_if_drained(*stream);
    consider_sealing(*stream, true);
    return true;
  }
  return false;
}

void ProducerCore::end_batch(Stream& stream, std::size_t index, std::optional<Failure> failure,
                             std::vector<BatchOutcome>& outcomes) {
  const auto at = stream.batches.begin() + static_cast<std::ptrdiff_t>(index);
  unconfirmed_ -= at->count;
  // The array's own five bytes were not counted when the messages were added.
  unconfirmed_bytes_ -= at->payload->size() - 5;
  outcomes.push_back(BatchOutcome{std::move(at->callbacks), at->count, std::move(failure)});
  stream.batches.erase(at);
}

void ProducerCore::on_time(TimeMs now, std::vector<BatchOutcome>& outcomes) {
  std::erase_if(active_, [](Stream* stream) {
    const bool done = stream->batches.empty() && stream->gathered.count() == 0;
    if (done) stream->active = false;
    return done;
  });
  for (Stream* stream : active_) {
    while (!stream->batches.empty() && stream->batches.front().give_up_at <= now) give_up(*stream, outcomes);
    consider_sealing(*stream, false);
  }
}

std::string ProducerCore::producer_for(bool by_id) {
  return by_id ? std::string() : producer_ + "." + std::to_string(++producers_made_);
}

bool ProducerCore::is_late(TimeMs now) const {
  for (const Stream* stream : active_) {
    for (const Batch& batch : stream->batches) {
      if (batch.request != 0 && batch.sent_at + limits_.request_timeout <= now) return true;
    }
  }
  return false;
}

std::optional<TimeMs> ProducerCore::next_deadline() const {
  std::optional<TimeMs> next;
  const auto consider = [&next](TimeMs at) { next = next ? std::min(*next, at) : at; };
  for (const Stream* stream : active_) {
    if (stream->resend_at) consider(*stream->resend_at);
    if (stream->batches.empty()) continue;
    consider(stream->batches.front().give_up_at);
    for (const Batch& batch : stream->batches) {
      if (batch.request != 0) consider(batch.sent_at + limits_.request_timeout);
    }
  }
  return next;
}

void ProducerCore::check_invariants() const {
  std::size_t messages = 0;
  for (const auto& [queue, stream] : streams_) {
    messages += stream->gathered.count();
    Sequence expected;
    for (const Batch& batch : stream->batches) {
      messages += batch.count;
      require(batch.count != 0 && batch.count <= kBatchMessagesMax);
      require(batch.request == 0 || batch.first.value != 0);  // what is on the wire has a number
      require(!batch.uncertain || batch.first.value != 0);    // P3
      if (batch.first.value == 0) continue;
      require(stream->draining || expected.value == 0 || batch.first == expected);  // no hole
      expected = Sequence{batch.first.value + batch.count};
    }
    require(stream->active || stream->batches.empty());
  }
  require(messages == unconfirmed_);
}

}  // namespace dmq
