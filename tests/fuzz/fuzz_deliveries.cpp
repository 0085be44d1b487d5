// Payloads of a receive reply: what a client reads is what the broker's writer would write again.
#include "protocol/limits.hpp"
#include "protocol/payload.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

void check_views(const Delivery& message, std::string_view input) {
  for (const std::string_view view : {message.id, message.receipt, message.body}) must_be_inside(view, input);
  const Attributes& attributes = message.attributes;
  must(attributes.headers.size() <= kMessageHeadersMax, "the number of headers is bounded");
  for (const auto& [name, value] : attributes.headers) {
    must_be_inside(name, input);
    must_be_inside(value, input);
  }
  for (const std::string_view label :
       {attributes.content_type, attributes.reply_to, attributes.correlation_id, attributes.traceparent}) {
    if (!label.empty()) must_be_inside(label, input);
    must(label.size() <= kMessageLabelBytesMax, "labels are bounded");
  }
}

void must_be_same(const Delivery& after, const Delivery& before) {
  must(after.receipt == before.receipt && after.body == before.body, "receipt and body stay as they were");
  must(after.deliveries == before.deliveries && after.sent_ms == before.sent_ms, "count and time stay as they were");
  must(after.priority == before.priority && after.expires_ms == before.expires_ms, "priority and expiry stay too");
  must(pack_attributes(after.attributes) == pack_attributes(before.attributes), "the attributes stay as they were");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  MsgpackReader reader;
  std::vector<Delivery> messages;
  if (const auto decoded = decode_deliveries(input, reader, messages); !decoded) {
    must_be_readable(decoded.error());
    return 0;
  }
  must(messages.size() <= kBatchMessagesMax, "the number of messages is bounded");
  DeliveryWriter writer(size);
  std::vector<const Delivery*> written;
  for (const Delivery& message : messages) {
    check_views(message, input);
    const auto receipt = parse_receipt(message.receipt);
    if (!receipt) continue;  // no broker wrote it
    const std::string attributes = pack_attributes(message.attributes);
    writer.begin({*receipt, message.deliveries, message.sent_ms, message.priority, message.expires_ms, message.first_ms,
                  message.last_ms, message.reason, attributes, message.body.size()});
    writer.out().append(message.body);
    written.push_back(&message);
  }
  const std::string bytes = writer.finish();
  MsgpackReader reader_again;
  std::vector<Delivery> again;
  must(decode_deliveries(bytes, reader_again, again).has_value(), "written messages can be decoded");
  must(again.size() == written.size(), "no message is lost or made");
  for (std::size_t i = 0; i < again.size(); ++i) must_be_same(again[i], *written[i]);
  return 0;
}
