// The second frame: messages to send, receipts, results, delivered messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"

namespace dmq {

class MsgpackReader;

// --- send -------------------------------------------------------------------------------------------------------

// How the broker is to treat a message. Absent: as the queue's settings say.
struct MessageOptions {
  Priority priority = 0;
  std::optional<DurationMs> delay_ms;  // from when the broker takes it
  std::optional<TimeMs> deliver_at;    // since 1970; instead of a delay
  std::optional<DurationMs> ttl_ms;    // from when the broker takes it
  std::string_view dedup_id;           // of messages of a queue with the same one, one is taken; empty: none
};

// One message of a send request. `body` points into the decoded payload. A message that cannot be taken carries
// its error; the others of the request are not touched by it.
struct SendItem {
  std::string_view body;
  MessageOptions options;
  std::string_view key;    // empty: none
  std::string attributes;  // what travels with the body, as stored: see pack_attributes; empty when there is none
  Error error{Errc::kOk, {}};
};

// `items` is cleared and filled, one per message. Errors of the whole request: malformed, too_large (over 1,000
// messages or 32 MiB), invalid_argument (no message). Errors of one message: malformed, too_large, invalid_argument.
Result<void> decode_send(std::string_view payload, MsgpackReader& reader, std::vector<SendItem>& items);

using HeaderView = std::pair<std::string_view, std::string_view>;

// Where a message was that its queue gave up.
struct Origin {
  std::string_view queue;
  std::string_view cause;        // "max_deliveries", "rejected" or "expired"
  std::string_view reason;       // that the last nack gave; empty: none
  std::uint32_t deliveries = 0;  // there
  TimeMs first_ms;               // since 1970; 0: it was not delivered
  TimeMs last_ms;
  TimeMs sent_ms;
};

// What goes with a body from the producer to the consumer; the broker looks at the key alone. Empty: absent.
struct Attributes {
  std::vector<HeaderView> headers;
  std::string_view content_type;
  std::string_view reply_to;  // a queue's name, by custom
  std::string_view correlation_id;
  std::string_view traceparent;  // of W3C Trace Context
  std::string_view key;          // messages of the same one go out one after the other
  std::optional<Origin> origin;  // of a dead message; the broker gives it
};

// Attributes as they lie on disk and go out again: one byte with the number of pairs, then packed key, value, ...
// Empty when there are none.
std::string pack_attributes(const Attributes& attributes);
// The same with the pairs of `options`, as SendWriter takes it.
std::string pack_message_pairs(const Attributes& attributes, const MessageOptions& options);

// Stored attributes of a message that goes to another queue: `id` stays its id, and `origin`, if there is one, takes
// the place of an older one.
std::string pack_moved_attributes(std::string_view stored, std::string_view id, const Origin* origin,
                                  MsgpackReader& reader);
// The name of the queue that gave it up; empty: none did. A view into `stored`.
std::string_view origin_queue(std::string_view stored, MsgpackReader& reader);
// The id that it had when it was sent; empty: that of its place.
std::string_view stored_id(std::string_view stored);

// Gathers the payload of a send request, message by message.
class SendWriter {
 public:
  SendWriter();
  // `pairs` as pack_message_pairs gives them, or empty.
  void add(std::string_view body, std::string_view pairs);
  std::size_t count() const { return count_; }
  std::size_t bytes() const { return out_.size(); }
  std::string finish();  // the payload; the writer is empty again

 private:
  std::string out_;
  std::uint32_t count_ = 0;
};

// --- ack, nack, extend --------------------------------------------------------------------------------------------

// `receipts` is cleared and filled with views into the payload. Errors: malformed, too_large, invalid_argument.
Result<void> decode_receipts(std::string_view payload, MsgpackReader& reader, std::vector<std::string_view>& receipts);
std::string encode_receipts(const std::vector<std::string>& receipts);
std::string encode_receipts(const std::vector<std::string_view>& receipts);

// --- results ------------------------------------------------------------------------------------------------------

// Gathers one result per item, in order: a str for a success (send: the message id, otherwise "ok"), or a map.
class ResultWriter {
 public:
  explicit ResultWriter(std::size_t count);
  void id(PartitionId partition, Lsn lsn);
  void ok();
  void duplicate();  // sent before: {code: "ok", duplicate: true}
  void error(const Error& error);
  std::string finish() { return std::move(out_); }

 private:
  std::string out_;
};

struct ItemResult {
  Errc code = Errc::kOk;
  bool duplicate = false;
  std::string text;  // success: the message id or "ok"; failure: the sentence
};
Result<std::vector<ItemResult>> decode_results(std::string_view payload, MsgpackReader& reader);

// --- receive ------------------------------------------------------------------------------------------------------

// A delivered message without its body.
struct DeliveryHead {
  Receipt receipt;
  std::uint32_t deliveries = 1;
  TimeMs sent_ms;
  Priority priority = 0;
  TimeMs expires_ms;            // since 1970; 0: never
  TimeMs first_ms;              // of earlier deliveries that counted, since 1970; 0: there were none
  TimeMs last_ms;               // also
  std::string_view reason;      // of the last nack; empty: it gave none
  std::string_view attributes;  // as stored
  std::size_t body_bytes = 0;
};

// Gathers the payload of a receive reply. The body is copied once, from the store into the frame.
class DeliveryWriter {
 public:
  explicit DeliveryWriter(std::size_t bytes_expected);
  // Writes one message up to its body; the caller then appends exactly `head.body_bytes` to `out()`.
  void begin(const DeliveryHead& head);
  std::string& out() { return out_; }
  // Forgets a message that was begun when `bytes()` was `mark`, because its body turned out to be damaged.
  void take_back(std::size_t mark);
  std::size_t bytes() const { return out_.size(); }
  std::size_t count() const { return count_; }
  std::string finish();

 private:
  std::string out_;
  std::uint32_t count_ = 0;
};

// One delivered message; the views point into the decoded payload.
struct Delivery {
  std::string_view id;
  std::string_view receipt;
  std::string_view body;
  std::uint32_t deliveries = 1;  // how often it was handed out, this time included
  TimeMs sent_ms;                // when the broker took it, since 1970
  Priority priority = 0;
  TimeMs expires_ms;        // since 1970; 0: never
  TimeMs first_ms;          // of earlier deliveries that counted, since 1970; 0: there were none
  TimeMs last_ms;           // also
  std::string_view reason;  // of the last nack; empty: it gave none
  Attributes attributes;
};
Result<void> decode_deliveries(std::string_view payload, MsgpackReader& reader, std::vector<Delivery>& out);

}  // namespace dmq
