// Where the first of several MessagePack values ends, as dmq import cuts them.
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  const std::string_view input = input_of(data, size);
  const auto bytes = first_value_bytes(input);
  if (!bytes) {
    must_be_readable(bytes.error());
    return 0;
  }
  must(*bytes <= size, "a value ends inside the input");
  MsgpackReader reader;
  const ReadLimits limits{.array_items = size, .map_keys = size, .string_bytes = size, .binary_bytes = size};
  const auto whole = reader.read(input, limits);
  must(whole.has_value() == (*bytes == size && size > 0), "what fills the input is what can be read of it");
  if (*bytes == 0) return 0;
  must(first_value_bytes(input.substr(0, *bytes)) == *bytes, "what is behind a value does not change it");
  must(first_value_bytes(input.substr(0, *bytes - 1)) == std::size_t{0}, "a value that is cut goes on");
  return 0;
}
