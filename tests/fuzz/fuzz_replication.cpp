// What replicas say to each other, and the frame of records that goes with it.
#include "protocol/replication.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

// Records are taken off one after the other, until none is left or one is not whole.
void take_records(std::string_view input) {
  std::string again;
  std::string_view rest = input;
  while (!rest.empty()) {
    const std::string_view before = rest;
    const auto record = take_shipped_record(rest);
    if (!record) return must_be_readable(record.error());
    must_be_inside(record->bytes, before);
    must(rest.size() < before.size(), "a record takes bytes");
    ship_record(again, *record);
  }
  must(again == input, "records that were taken are shipped as the same bytes");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  check_codec(input, decode_peer_message, encode_peer_message);
  take_records(input);
  return 0;
}
