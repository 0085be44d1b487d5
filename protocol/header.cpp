// Codec of request and reply headers (docs/protocol.md, "Headers").
#include "protocol/header.hpp"

#include <algorithm>
#include <array>

#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr std::array<std::string_view, 19> kOpNames{
    "hello",        "ping",           "send",       "receive",      "ack",          "nack",   "extend",
    "queue.create", "queue.describe", "queue.list", "queue.delete", "queue.update", "browse", "queue.purge",
    "queue.stats",  "queue.redrive",  "heartbeat",  "subscribe",    "unsubscribe"};

constexpr std::string_view kOnDelivery = "on_delivery";
constexpr std::size_t kWordMax = 64;                                                   // of an id, an attempt
constexpr std::array<std::string_view, 3> kNackKinds{"failed", "give_back", "fatal"};  // by NackKind

constexpr ReadLimits kHeaderLimits{
    .array_items = 64, .map_keys = kHeaderKeysMax, .string_bytes = kHeaderBytesMax, .binary_bytes = kHeaderBytesMax};

Error bad_value(std::string_view key, std::string_view what) {
  return Error{Errc::kInvalidArgument, "`" + std::string(key) + "` must be " + std::string(what)};
}

// Reads the optional keys of one header map. The first fault wins; later calls do nothing.
class Fields {
 public:
  explicit Fields(const msgpack::object& map) : map_(map) {}

  void text(std::string_view key, std::size_t bytes_max, std::string_view& out) {
    const msgpack::object* value = find(key);
    if (value == nullptr) return;
    const auto text = as_text(*value);
    if (!text || text->size() > bytes_max) {
      return set_error(bad_value(key, "a str of at most " + std::to_string(bytes_max) + " bytes"));
    }
    out = *text;
  }
  void number(std::string_view key, std::uint64_t least, std::uint64_t most, std::uint64_t& out) {
    const msgpack::object* value = find(key);
    if (value == nullptr) return;
    const auto number = as_number(*value);
    if (!number || *number < least || *number > most) {
      return set_error(bad_value(key, "an integer from " + std::to_string(least) + " to " + std::to_string(most)));
    }
    out = *number;
  }
  void duration(std::string_view key, std::int64_t least, std::int64_t most, std::optional<DurationMs>& out) {
    if (find(key) == nullptr) return;
    std::uint64_t value = 0;
    number(key, static_cast<std::uint64_t>(least), static_cast<std::uint64_t>(most), value);
    out = DurationMs{static_cast<std::int64_t>(value)};
  }
  // One of a table of names, in the order of the enum.
  template <class Enum, std::size_t kCount>
  void choice(std::string_view key, const std::array<std::string_view, kCount>& names, Enum& out) {
    const msgpack::object* value = find(key);
    if (value == nullptr) return;
    const auto chosen = value_named<Enum>(names, as_text(*value).value_or(""));
    if (chosen) {
      out = *chosen;
      return;
    }
    std::string known;
    for (const std::string_view name : names) known += (known.empty() ? "\"" : "\" or \"") + std::string(name);
    set_error(bad_value(key, known + "\""));
  }
  void set_error(Error error) {
    if (result_) result_ = tl::unexpected<Error>(std::move(error));
  }
  const msgpack::object* find(std::string_view key) const { return find_key(map_, key); }
  const Result<void>& result() const { return result_; }

 private:
  const msgpack::object& map_;
  Result<void> result_;
};

Result<RequestId> read_id(const msgpack::object& map) {
  const msgpack::object* value = find_key(map, "id");
  if (value == nullptr || value->type == msgpack::type::NIL) return RequestId{};
  if (const auto number = as_number(*value)) return RequestId{*number};
  const auto text = as_text(*value);
  if (text && text->size() <= kRequestIdBytesMax && is_clean_utf8(*text)) return RequestId{std::string(*text)};
  return tl::unexpected<Error>(bad_value("id", "an integer to 2^53 or a str of at most 64 bytes of UTF-8"));
}

void pack_id(Packer& packer, const RequestId& id) {
  packer.text("id");
  if (const auto* number = std::get_if<std::uint64_t>(&id)) {
    packer.number(*number);
  } else {
    packer.text(std::get<std::string>(id));
  }
}

bool needs_queue(Op op) { return op != Op::kHello && op != Op::kPing && op != Op::kQueueList; }

void read_subscription(Fields& fields, RequestHeader& out) {
  fields.text("subscription", kWordMax, out.subscription);
  if (out.subscription.empty() || !is_clean_utf8(out.subscription)) {
    fields.set_error(bad_value("subscription", "a name: 1 to 64 bytes of UTF-8 without control characters"));
  }
}

void read_ack_mode(Fields& fields, RequestHeader& out) {
  std::string_view ack;
  fields.text("ack", kHeaderBytesMax, ack);
  out.ack_on_delivery = ack == kOnDelivery;
  if (fields.find("ack") != nullptr && !out.ack_on_delivery)
    fields.set_error(bad_value("ack", R"("on_delivery", or absent)"));
}

void read_attempt(Fields& fields, RequestHeader& out) {
  fields.text("attempt", kWordMax, out.attempt);
  if (!is_clean_utf8(out.attempt)) fields.set_error(bad_value("attempt", "UTF-8 without control characters"));
  if (!out.attempt.empty() && out.ack_on_delivery) {
    fields.set_error({Errc::kInvalidArgument, "what is acked on delivery cannot be had again by an `attempt`"});
  }
}

void read_consumer(Fields& fields, RequestHeader& out) {
  fields.text("consumer", kWordMax, out.consumer);
  if (!is_clean_utf8(out.consumer)) fields.set_error(bad_value("consumer", "UTF-8 without control characters"));
}

void read_heartbeat(Fields& fields, RequestHeader& out) {
  read_consumer(fields, out);
  fields.duration("heartbeat_ms", kLeaseMsMin, kLeaseMsMax, out.heartbeat_ms);
  const bool beats = out.op == Op::kHeartbeat || out.heartbeat_ms;
  if (beats && out.consumer.empty()) {
    fields.set_error({Errc::kInvalidArgument, "a heartbeat is of a `consumer`, which is to be named"});
  }
}

void read_subscribe(Fields& fields, RequestHeader& out) {
  read_subscription(fields, out);
  if (fields.find("credit") != nullptr) fields.number("credit", 0, kCreditMax, out.credit.emplace());
  fields.number("credit_bytes", 1, kCreditBytesMax, out.credit_bytes);
  fields.duration("wait_ms", kSubscriptionMsMin, kWaitMsMax, out.wait_ms);
  fields.duration("lease_ms", kLeaseMsMin, kLeaseMsMax, out.lease_ms);
  read_heartbeat(fields, out);
  if (fields.find("ack") != nullptr) {
    fields.set_error(
        {Errc::kInvalidArgument, "a subscription has no `ack`: its messages are to be acked; `receive` has it"});
  }
}

void read_nack(Fields& fields, RequestHeader& out) {
  read_consumer(fields, out);
  fields.choice("kind", kNackKinds, out.kind);
  fields.text("reason", kNackReasonBytesMax, out.reason);
  if (!is_clean_utf8(out.reason)) fields.set_error(bad_value("reason", "UTF-8 without control characters"));
  if (out.kind == NackKind::kFatal && out.delay_ms) {
    fields.set_error({Errc::kInvalidArgument, "a `fatal` nack has no `delay_ms`: the message is not given out again"});
  }
}

void read_browse(Fields& fields, RequestHeader& out) {
  fields.choice("state", kMessageStateNames, out.state);
  fields.choice("order", kBrowseOrderNames, out.order);
  if (out.order == BrowseOrder::kNext && out.state != MessageState::kReady) {
    fields.set_error({Errc::kInvalidArgument, "`order` \"next\" is of ready messages only: no others are next"});
  }
  fields.number("max", 1, kBatchMessagesMax, out.max);
  fields.number("max_bytes", 1, kReceiveBytesMax, out.max_bytes);
  fields.text("after", kQueueNameBytesMax, out.after);
  if (fields.find("body_bytes") == nullptr) return;
  fields.number("body_bytes", 0, kMessageBytesMax, out.body_bytes.emplace());
}

// Only the keys that the operation knows are read: others are unknown keys, which are ignored.
void read_options(Fields& fields, RequestHeader& out) {
  switch (out.op) {
    case Op::kSend: {
      fields.text("producer", kProducerBytesMax, out.producer);
      fields.number("sequence", 1, kNumberMax - kBatchMessagesMax, out.sequence.value);
      if (fields.find("partition") != nullptr)
        fields.number("partition", 0, kQueuePartitionsMax - 1, out.partition.emplace());
      if (!out.producer.empty() && static_cast<unsigned char>(out.producer.front()) < ' ') {  // the broker's own
        fields.set_error(bad_value("producer", "a str that does not begin with a control character"));
      }
      if (out.producer.empty() != (out.sequence.value == 0)) {
        fields.set_error({Errc::kInvalidArgument, "`producer` (not empty) and `sequence` go together"});
      }
      break;
    }
    case Op::kReceive:
      fields.number("max", 1, kBatchMessagesMax, out.max);
      fields.number("max_bytes", 1, kReceiveBytesMax, out.max_bytes);
      fields.duration("wait_ms", 0, kWaitMsMax, out.wait_ms);
      fields.duration("lease_ms", kLeaseMsMin, kLeaseMsMax, out.lease_ms);
      if (fields.find("subscription") != nullptr) read_subscription(fields, out);
      read_ack_mode(fields, out);
      read_attempt(fields, out);
      read_heartbeat(fields, out);
      break;
    case Op::kNack:
      fields.duration("delay_ms", 0, kLeaseMsMax, out.delay_ms);
      read_nack(fields, out);
      break;
    case Op::kExtend:
      fields.duration("lease_ms", kLeaseMsMin, kLeaseMsMax, out.lease_ms);
      read_consumer(fields, out);
      break;
    case Op::kAck:
      read_consumer(fields, out);
      break;
    case Op::kHeartbeat:
      read_heartbeat(fields, out);
      break;
    case Op::kSubscribe:
      read_subscribe(fields, out);
      break;
    case Op::kUnsubscribe:
      read_subscription(fields, out);
      break;
    case Op::kQueueList:
      fields.number("max", 1, kListPageMax, out.max);
      fields.text("prefix", kQueueNameBytesMax, out.prefix);
      fields.text("after", kQueueNameBytesMax, out.after);
      break;
    case Op::kQueueRedrive:
      fields.number("max", 1, kBatchMessagesMax, out.max);
      fields.text("after", kWordMax, out.after);
      break;
    case Op::kQueueUpdate:
      fields.number("version", 1, kNumberMax, out.version);
      break;
    case Op::kBrowse:
      read_browse(fields, out);
      break;
    default:
      break;
  }
}

}  // namespace

std::string_view op_name(Op op) { return kOpNames[static_cast<std::size_t>(op)]; }

Result<void> decode_request_header(std::string_view bytes, MsgpackReader& reader, RequestHeader& out) {
  out = RequestHeader{};
  if (bytes.size() > kHeaderBytesMax) return fail(Errc::kTooLarge, "the header frame is over 64 KiB");
  const auto object = reader.read(bytes, kHeaderLimits);
  if (!object) return tl::unexpected<Error>(object.error());
  if (auto map = check_map(*object); !map) return fail(Errc::kMalformed, "header: " + map.error().context);
  auto id = read_id(*object);
  if (!id) return tl::unexpected<Error>(id.error());
  out.id = std::move(*id);

  const msgpack::object* version = find_key(*object, "v");
  if (version == nullptr) {
    return fail(Errc::kUnsupportedVersion, "`v` is missing: each request header says which version it speaks, `v` = 1");
  }
  if (as_number(*version) != kProtocolVersion) {
    return fail(Errc::kUnsupportedVersion, "`v` must be the integer 1: this broker speaks protocol version 1 only");
  }
  const msgpack::object* op = find_key(*object, "op");
  const auto name = op == nullptr ? std::nullopt : as_text(*op);
  if (!name) return fail(Errc::kMalformed, "`op` is missing or no str");
  std::size_t index = 0;
  while (index < kOpNames.size() && kOpNames[index] != *name) ++index;
  if (index == kOpNames.size()) {
    return fail(Errc::kUnknownOp, "there is no operation '" + std::string(repeatable(*name)) + "'");
  }
  out.op = static_cast<Op>(index);

  Fields fields(*object);
  if (needs_queue(out.op)) {
    const msgpack::object* queue = find_key(*object, "queue");
    const auto queue_name = queue == nullptr ? std::nullopt : as_text(*queue);
    if (!queue_name) return fail(Errc::kMalformed, "`queue` is missing or no str");
    if (auto good = check_queue_name(*queue_name); !good) return good;
    out.queue = *queue_name;
  }
  read_options(fields, out);
  return fields.result();
}

std::string encode_request_header(const RequestHeader& header) {
  const bool has_id = header.id.index() != 0;
  const auto given = [](bool is) { return is ? std::size_t{1} : std::size_t{0}; };
  std::string out;
  Packer packer(out);
  packer.map(2 + given(has_id) + given(!header.queue.empty()) + 2 * given(!header.producer.empty()) +
             given(header.partition.has_value()) + given(header.max != 0) + given(header.max_bytes != 0) +
             given(header.wait_ms.has_value()) + given(header.lease_ms.has_value()) +
             given(header.delay_ms.has_value()) + given(!header.prefix.empty()) + given(!header.after.empty()) +
             given(header.version != 0) + given(header.kind != NackKind::kFailed) + given(!header.reason.empty()) +
             given(header.ack_on_delivery) + given(!header.attempt.empty()) + given(!header.consumer.empty()) +
             given(header.heartbeat_ms.has_value()) + given(!header.subscription.empty()) +
             given(header.credit.has_value()) + given(header.credit_bytes != 0) +
             given(header.state != MessageState::kReady) + given(header.order != BrowseOrder::kOldest) +
             given(header.body_bytes.has_value()));
  const auto text = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    packer.text(key);
    packer.text(value);
  };
  const auto number = [&](std::string_view key, std::uint64_t value) {
    if (value == 0) return;
    packer.text(key);
    packer.number(value);
  };
  const auto duration = [&](std::string_view key, const std::optional<DurationMs>& value) {
    if (!value) return;
    packer.text(key);
    packer.number(static_cast<std::uint64_t>(value->value));
  };
  number("v", kProtocolVersion);
  text("op", op_name(header.op));
  if (has_id) pack_id(packer, header.id);
  text("queue", header.queue);
  text("producer", header.producer);
  if (!header.producer.empty()) number("sequence", header.sequence.value);
  if (header.partition) {
    packer.text("partition");
    packer.number(*header.partition);
  }
  number("version", header.version);
  number("max", header.max);
  number("max_bytes", header.max_bytes);
  duration("wait_ms", header.wait_ms);
  duration("lease_ms", header.lease_ms);
  duration("delay_ms", header.delay_ms);
  if (header.kind != NackKind::kFailed) text("kind", name_of(kNackKinds, header.kind));
  text("reason", header.reason);
  if (header.ack_on_delivery) text("ack", kOnDelivery);
  text("attempt", header.attempt);
  text("consumer", header.consumer);
  duration("heartbeat_ms", header.heartbeat_ms);
  text("subscription", header.subscription);
  if (header.credit) {
    packer.text("credit");
    packer.number(*header.credit);
  }
  number("credit_bytes", header.credit_bytes);
  text("prefix", header.prefix);
  text("after", header.after);
  if (header.state != MessageState::kReady) text("state", state_name(header.state));
  if (header.order != BrowseOrder::kOldest) text("order", order_name(header.order));
  if (header.body_bytes) {
    packer.text("body_bytes");
    packer.number(*header.body_bytes);
  }
  return out;
}

namespace {

// A map of `more` keys besides the version, the id and the code.
void begin_reply(Packer& packer, const RequestId& id, Errc code, std::size_t more) {
  packer.map((id.index() == 0 ? 2 : 3) + more);
  packer.text("v");
  packer.number(kProtocolVersion);
  if (id.index() != 0) pack_id(packer, id);
  packer.text("code");
  packer.text(code_name(code));
}

void pack_more(Packer& packer, Replies replies) {
  if (replies == Replies::kLast) return;
  packer.text("more");
  packer.boolean(true);
}

}  // namespace

std::string encode_ok_header(const RequestId& id, Replies replies) {
  std::string out;
  Packer packer(out);
  begin_reply(packer, id, Errc::kOk, replies == Replies::kMore ? 1 : 0);
  pack_more(packer, replies);
  return out;
}

std::string encode_confirmed_header(const RequestId& id, Confirmation confirmed, Replies replies) {
  std::string out;
  Packer packer(out);
  begin_reply(packer, id, Errc::kOk, replies == Replies::kMore ? 2 : 1);
  packer.text("confirmed");
  packer.text(confirmation_name(confirmed));
  pack_more(packer, replies);
  return out;
}

std::string encode_reply_header(const RequestId& id, const Error& error) {
  if (error.code == Errc::kOk) return encode_ok_header(id);
  std::string out;
  Packer packer(out);
  begin_reply(packer, id, error.code, 2);
  packer.text("message");
  packer.text(error.context.empty() ? code_text(error.code) : std::string_view(error.context));
  packer.text("retry");
  packer.boolean(is_retryable(error.code));
  return out;
}

Result<ReplyHeader> decode_reply_header(std::string_view bytes, MsgpackReader& reader) {
  if (bytes.size() > kHeaderBytesMax) return fail(Errc::kTooLarge, "the reply's header is over 64 KiB");
  const auto object = reader.read(bytes, kHeaderLimits);
  if (!object) return tl::unexpected<Error>(object.error());
  if (auto map = check_map(*object); !map) return fail(Errc::kMalformed, "reply: " + map.error().context);
  ReplyHeader out;
  auto id = read_id(*object);
  if (!id) return tl::unexpected<Error>(id.error());
  out.id = std::move(*id);
  const msgpack::object* code = find_key(*object, "code");
  const auto name = code == nullptr ? std::nullopt : as_text(*code);
  if (!name) return fail(Errc::kMalformed, "the reply has no `code`");
  if (const msgpack::object* message = find_key(*object, "message")) {
    out.message = std::string(as_text(*message).value_or(""));
  }
  if (const msgpack::object* retry = find_key(*object, "retry")) {
    out.retry = retry->type == msgpack::type::BOOLEAN && retry->via.boolean;
  }
  if (const msgpack::object* more = find_key(*object, "more")) {
    out.more = more->type == msgpack::type::BOOLEAN && more->via.boolean;
  }
  if (const msgpack::object* confirmed = find_key(*object, "confirmed")) {
    out.confirmed = confirmation_from_name(as_text(*confirmed).value_or(""));
  }
  if (const auto known = code_from_name(*name)) {
    out.code = *known;
  } else {
    out.code = Errc::kInternal;
    out.message = std::string(*name) + ": " + out.message;
  }
  return out;
}

}  // namespace dmq
