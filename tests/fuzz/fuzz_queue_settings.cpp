// Settings of queue.create: what is accepted is in its range and survives being encoded and decoded again.
#include "protocol/limits.hpp"
#include "protocol/queue_info.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  MsgpackReader reader;
  const auto settings = decode_queue_settings(input_of(data, size), reader);
  if (!settings) {
    must_be_readable(settings.error());
    return 0;
  }
  must(settings->lease_ms.value >= kLeaseMsMin && settings->lease_ms.value <= kLeaseMsMax, "the lease is bounded");
  const auto again = decode_queue_settings(encode_queue_settings(*settings), reader);
  must(again && *again == *settings, "decode(encode(settings)) are the settings");
  return 0;
}
