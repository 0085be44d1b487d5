// Request headers: what is accepted keeps to the limits and survives being encoded and decoded again.
#include "protocol/header.hpp"
#include "protocol/limits.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

bool same(const RequestHeader& a, const RequestHeader& b) {
  return a.op == b.op && a.id == b.id && a.queue == b.queue && a.producer == b.producer && a.sequence == b.sequence &&
         a.max == b.max && a.max_bytes == b.max_bytes && a.wait_ms == b.wait_ms && a.lease_ms == b.lease_ms &&
         a.delay_ms == b.delay_ms && a.prefix == b.prefix && a.after == b.after && a.version == b.version &&
         a.state == b.state && a.order == b.order && a.body_bytes == b.body_bytes;
}

void check_limits(const RequestHeader& header, std::string_view input) {
  for (const std::string_view view : {header.queue, header.producer, header.prefix, header.after}) {
    must_be_inside(view, input);
    must(view.size() <= kQueueNameBytesMax, "a name is bounded");
  }
  must(header.max <= kBatchMessagesMax, "`max` is bounded");
  must(header.wait_ms.value_or(DurationMs{}).value <= kWaitMsMax, "`wait_ms` is bounded");
  must(header.lease_ms.value_or(DurationMs{kLeaseMsMin}).value >= kLeaseMsMin, "`lease_ms` is bounded");
  must(header.body_bytes.value_or(0) <= kMessageBytesMax, "`body_bytes` is bounded");
  must(header.order == BrowseOrder::kOldest || header.state == MessageState::kReady, "what is next is ready");
  must(header.producer.empty() == (header.sequence.value == 0), "a producer has a sequence");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  MsgpackReader reader;
  RequestHeader header;
  if (const auto decoded = decode_request_header(input, reader, header); !decoded) {
    must_be_readable(decoded.error());
    return 0;
  }
  check_limits(header, input);
  const std::string bytes = encode_request_header(header);
  MsgpackReader reader_again;
  RequestHeader again;
  must(decode_request_header(bytes, reader_again, again).has_value(), "an encoded header can be decoded");
  must(same(header, again), "decode(encode(header)) is the header");
  return 0;
}
