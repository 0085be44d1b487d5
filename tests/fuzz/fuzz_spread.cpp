// Requests to a queue of several partitions, with whatever workers answer: each request comes to its one answer.
#include <deque>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "router/spread.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

constexpr std::uint16_t kPartitions = 8;
constexpr int kRepliesMax = 200;
constexpr DurationMs kReplyTakes{kWaitMsMax / 8};

QueueInfo some_queue() {
  QueueInfo queue;
  queue.id = {5};
  queue.name = "q";
  queue.partition = {6};
  queue.settings.partitions = 4;
  queue.settings.key_partitions = 2;
  return queue;
}

// The parts answer in turn, every other one with an error when the input says so.
void answer_all(Spread& spread, Spread::Step step, std::string_view payload, bool fails, TimeMs now) {
  std::deque<Spread::Part> asks(step.asks.begin(), step.asks.end());
  bool answered = step.answer.has_value();
  for (int replies = 0; !asks.empty(); ++replies) {
    must(replies < kRepliesMax, "a request comes to an end");
    const Spread::Part part = std::move(asks.front());
    asks.pop_front();
    must(part.part < some_queue().settings.partitions, "a part is one of the queue's");
    must(part.header.size() <= kHeaderBytesMax, "the header of a part's request is bounded");
    now = now + kReplyTakes;
    const bool error = fails && replies % 2 == 0;
    Spread::Step next =
        spread.on_reply(step.ticket, part.part,
                        error ? encode_reply_header(RequestId{}, {Errc::kUnavailable, "away"}) : encode_ok_header({}),
                        error ? std::string_view() : payload, now);
    must(!next.answer || !answered, "a request has one answer");
    answered |= next.answer.has_value();
    for (Spread::Part& each : next.asks) asks.push_back(std::move(each));
  }
  must(answered, "a request has an answer");
  must(spread.size() == 0, "what is answered is forgotten");
}

}  // namespace

// The first byte: how long the header is, and whether parts fail. Then the header, and the payload both ways.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  if (input.empty()) return 0;
  const auto first = static_cast<unsigned char>(input.front());
  const std::string_view header_bytes = input.substr(1, first & 0x7fU);
  const std::string_view payload = input.substr(1 + header_bytes.size());
  MsgpackReader reader;
  RequestHeader header;
  if (!decode_request_header(header_bytes, reader, header) || header.queue.empty()) return 0;
  Spread spread("r");
  const QueueInfo queue = some_queue();
  const TimeMs now{1000};
  auto begun = spread.begin({"client"}, header_bytes, header, payload, queue, kPartitions, now);
  if (const auto* through = std::get_if<Spread::Through>(&begun)) {
    must(through->part < queue.settings.partitions, "a part is one of the queue's");
  } else if (const auto* error = std::get_if<Error>(&begun)) {
    must_be_readable(*error);
  } else if (auto* step = std::get_if<Spread::Step>(&begun)) {
    answer_all(spread, std::move(*step), payload, first >= 0x80U, now);
  }
  return 0;
}
