// The first frame of a request and of a reply: a small MessagePack map with readable keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "protocol/confirmation.hpp"
#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/message_state.hpp"

namespace dmq {

class MsgpackReader;

enum class Op : std::uint8_t {
  kHello,
  kPing,
  kSend,
  kReceive,
  kAck,
  kNack,
  kExtend,
  kQueueCreate,
  kQueueDescribe,
  kQueueList,
  kQueueDelete,
  kQueueUpdate,
  kBrowse,
  kQueuePurge,
  kQueueStats,
  kQueueRedrive,
  kHeartbeat,
  kSubscribe,
  kUnsubscribe,
};

std::string_view op_name(Op op);

// What the client put under `id`; a reply carries the same value. Absent, an integer to 2^53, or a str to 64 bytes.
using RequestId = std::variant<std::monostate, std::uint64_t, std::string>;

// What a consumer says of a message that it gives back.
enum class NackKind : std::uint8_t {
  kFailed,    // it counts as a delivery, and the queue's retry policy holds
  kGiveBack,  // as if it had not been given out
  kFatal,     // it can never be done
};

// A request header. The views point into the decoded bytes and live as long as they do.
struct RequestHeader {
  Op op = Op::kPing;
  RequestId id;
  std::string_view queue;                  // set for every op but hello, ping and queue.list
  std::string_view producer;               // send: empty when the producer is anonymous
  Sequence sequence;                       // send: of the first message; set when producer is
  std::optional<std::uint64_t> partition;  // send: which of the queue's, 0 is the first; absent: the router chooses
  std::uint64_t max = 0;                   // receive, browse: messages, 1 to 1,000; queue.list: names. 0: not given
  std::uint64_t max_bytes = 0;             // receive, browse: sum of bodies; 0: not given
  std::optional<DurationMs> wait_ms;    // receive: how long to wait for the first message; subscribe: how long it lasts
  std::string_view subscription;        // receive, subscribe, unsubscribe: its name
  std::optional<std::uint64_t> credit;  // subscribe: messages that may be unsettled
  std::uint64_t credit_bytes = 0;       // subscribe: bytes of them; 0: not given
  std::optional<DurationMs> lease_ms;   // receive, extend
  std::optional<DurationMs> delay_ms;   // nack: until the messages are ready again
  bool ack_on_delivery = false;         // receive: what is handed out is acked before it leaves
  std::string_view attempt;             // receive: a repeat with the same one gets the same messages; empty: none
  std::string_view consumer;            // receive, ack, nack, extend, heartbeat: who asks; empty: nobody is named
  std::optional<DurationMs> heartbeat_ms;  // receive, heartbeat: the consumer is silent for no longer
  NackKind kind = NackKind::kFailed;       // nack
  std::string_view reason;                 // nack: for people; empty: none
  std::string_view prefix;                 // queue.list: only names that begin so
  std::string_view
      after;  // queue.list: only names behind this one; browse: the last page's cursor; queue.redrive: an id
  std::uint64_t version = 0;                  // queue.update: of the settings that it is to change; 0: whichever
  MessageState state = MessageState::kReady;  // browse
  BrowseOrder order = BrowseOrder::kOldest;   // browse: kNext with kReady only
  std::optional<std::uint64_t> body_bytes;    // browse: so much of each body at most
};

// Fills `out`. On an error `out.id` is still set when the id itself could be read, so that the error reaches its
// request. Errors: malformed, unsupported_version, unknown_op, invalid_argument, too_large.
Result<void> decode_request_header(std::string_view bytes, MsgpackReader& reader, RequestHeader& out);
std::string encode_request_header(const RequestHeader& header);

struct ReplyHeader {
  RequestId id;
  Errc code = Errc::kOk;
  std::string message;                    // for an error: what failed, on what, what to try
  bool retry = false;                     // may the same request succeed later?
  std::optional<Confirmation> confirmed;  // of what is durable now
  bool more = false;                      // further replies to the same request follow
};

// May a reply be followed by others?
enum class Replies : std::uint8_t { kLast, kMore };

std::string encode_reply_header(const RequestId& id, const Error& error);
std::string encode_ok_header(const RequestId& id, Replies replies = Replies::kLast);
std::string encode_confirmed_header(const RequestId& id, Confirmation confirmed, Replies replies = Replies::kLast);
// Unknown codes, of a newer broker, are read as internal, with the code's name in the message.
Result<ReplyHeader> decode_reply_header(std::string_view bytes, MsgpackReader& reader);

}  // namespace dmq
