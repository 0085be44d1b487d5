// The producer core when a try does not succeed: repeats, draining, giving up (rules P2 to P4 of producer_core.hpp).
#include <algorithm>

#include "clients/cpp/producer_core.hpp"

namespace dmq {
namespace {

constexpr int kRenumberedMax = 3;  // a broker that refuses sequence 1 of a new producer does not get it for ever

}  // namespace

Failure ProducerCore::failure_of(const Error& error, bool retry) {
  std::string text(error.context.empty() ? code_text(error.code) : std::string_view(error.context));
  return Failure{std::string(code_name(error.code)), std::move(text), retry};
}

Failure ProducerCore::unconfirmed_failure(std::string_view queue, std::string_view why) {
  return Failure{"unconfirmed",
                 "messages to '" + std::string(queue) + "' were sent but not confirmed (" + std::string(why) +
                     "): they may or may not be stored",
                 false};
}

bool ProducerCore::on_out_of_sequence(Stream& stream, std::size_t index, const Error& answer,
                                      std::vector<BatchOutcome>& outcomes) {
  Batch& batch = stream.batches[index];
  batch.request = 0;
  if (stream.resend_at) return true;  // an earlier batch waits for its retry and this one follows it
  stream.draining = true;
  if (batch.uncertain) {
    end_batch(stream, index, unconfirmed_failure(stream.queue, "the broker lost its place in the sequence"), outcomes);
  } else if (++batch.renumbered > kRenumberedMax) {
    end_batch(stream, index, failure_of(answer, false), outcomes);
  } else {
    batch.first = Sequence{};
  }
  renew_if_drained(stream);
  return true;
}

void ProducerCore::schedule_resend(Stream& stream, TimeMs now) {
  if (stream.resend_at) return;
  const std::int64_t wait = limits_.backoff_min.value << std::min(stream.tries++, 10);
  stream.resend_at = now + DurationMs{std::min(wait, limits_.backoff_max.value)};
}

// P2: with one batch to repeat, all that follow it are repeated, under new ids so that old answers mean nothing.
void ProducerCore::resend_if_due(Stream& stream, TimeMs now) {
  if (!stream.resend_at || now < *stream.resend_at) return;
  stream.resend_at.reset();
  for (Batch& batch : stream.batches) {
    batch.uncertain = batch.uncertain || batch.request != 0;
    batch.request = 0;
  }
}

void ProducerCore::on_link_lost() {
  for (Stream* stream : active_) {
    stream->resend_at.reset();
    for (Batch& batch : stream->batches) {
      batch.uncertain = batch.uncertain || batch.request != 0;
      batch.request = 0;
    }
  }
}

// The first batch ran out of time. If it had a number, no later number of this producer can be waited for.
void ProducerCore::give_up(Stream& stream, std::vector<BatchOutcome>& outcomes) {
  const bool numbered = stream.batches.front().first.value != 0;
  const auto failure_for = [&](const Batch& batch) -> Failure {
    if (batch.uncertain || batch.request != 0)
      return unconfirmed_failure(
          stream.queue, stream.last_answer ? stream.last_answer->message : "no answer within the time to retry");
    if (stream.last_answer) return *stream.last_answer;
    return Failure{"unreachable", "messages to '" + stream.queue + "' could not be sent: no broker was reached", true};
  };
  end_batch(stream, 0, failure_for(stream.batches.front()), outcomes);
  if (!numbered) return;
  stream.draining = true;
  stream.resend_at.reset();
  for (std::size_t i = 0; i < stream.batches.size();) {
    Batch& batch = stream.batches[i];
    if (batch.first.value != 0 && (batch.uncertain || batch.request != 0)) {
      end_batch(stream, i, failure_for(batch), outcomes);
      continue;
    }
    batch.first = Sequence{};
    ++i;
  }
  renew_if_drained(stream);
}

void ProducerCore::renew_if_drained(Stream& stream) {
  if (!stream.draining) return;
  for (const Batch& batch : stream.batches) {
    if (batch.first.value != 0) return;
  }
  stream.draining = false;
  stream.resend_at.reset();
  stream.producer = producer_for(stream.by_id);
  stream.next = Sequence{1};
}

}  // namespace dmq
