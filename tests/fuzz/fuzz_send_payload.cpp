// Payloads of send: each message is bounded, points into the frame, and goes out again as it came in.
#include "protocol/limits.hpp"
#include "protocol/payload.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

void check_item(const SendItem& item, std::string_view input) {
  must_be_inside(item.body, input);
  if (item.error.code != Errc::kOk) return must_be_readable(item.error);
  must(item.body.size() <= kMessageBytesMax, "a body is bounded");
  must(item.attributes.size() <= kMessageHeaderBytesMax + 16, "the attributes are bounded");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  MsgpackReader reader;
  std::vector<SendItem> items;
  if (const auto decoded = decode_send(input, reader, items); !decoded) {
    must_be_readable(decoded.error());
    return 0;
  }
  must(!items.empty() && items.size() <= kBatchMessagesMax, "the number of messages is bounded");
  SendWriter writer;
  std::vector<const SendItem*> good;
  for (const SendItem& item : items) {
    check_item(item, input);
    if (item.error.code != Errc::kOk) continue;
    writer.add(item.body, item.attributes);
    good.push_back(&item);
  }
  if (good.empty()) return 0;
  const std::string bytes = writer.finish();
  MsgpackReader reader_again;
  std::vector<SendItem> again;
  must(decode_send(bytes, reader_again, again).has_value(), "an encoded payload can be decoded");
  must(again.size() == good.size(), "no message is lost or made");
  for (std::size_t i = 0; i < again.size(); ++i) {
    must(again[i].error.code == Errc::kOk && again[i].body == good[i]->body, "a body stays as it was");
    must(again[i].attributes == good[i]->attributes, "the headers stay as they were");
  }
  return 0;
}
