// Control records: the first byte is the type, the rest the body.
#include "storage/control.hpp"

#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  if (size == 0) return 0;
  const std::string_view input = input_of(data + 1, size - 1);
  const auto type = static_cast<RecordType>(data[0]);
  const auto body = decode_control(type, input);
  if (!body) {
    must_be_readable(body.error());
    return 0;
  }
  // What an earlier version wrote is written in the present form.
  const RecordType again = type == RecordType::kOldReturns ? RecordType::kReturns : type;
  const auto same = decode_control(again, encode_control(*body));
  must(same.has_value() && *same == *body, "what is decoded encodes to the same");
  return 0;
}
