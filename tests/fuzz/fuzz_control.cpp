// Control records: the first byte is the type, the rest the body.
#include "storage/control.hpp"

#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  if (size == 0) return 0;
  const std::string_view input = input_of(data + 1, size - 1);
  const auto body = decode_control(static_cast<RecordType>(data[0]), input);
  if (!body) {
    must_be_readable(body.error());
    return 0;
  }
  must(encode_control(*body) == input, "what is decoded encodes to the same bytes");
  return 0;
}
