// Reply headers: what a client accepts survives being encoded and decoded again.
#include "protocol/header.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  MsgpackReader reader;
  const auto header = decode_reply_header(input_of(data, size), reader);
  if (!header) {
    must_be_readable(header.error());
    return 0;
  }
  const std::string bytes = encode_reply_header(header->id, Error{header->code, header->message});
  const auto again = decode_reply_header(bytes, reader);
  if (!again) {
    must(again.error().code == Errc::kTooLarge, "only its size can keep an encoded reply from being decoded");
    return 0;
  }
  must(again->id == header->id && again->code == header->code, "decode(encode(reply)) is the reply");
  if (header->code == Errc::kOk) return 0;
  must(again->retry == is_retryable(header->code), "`retry` follows from the code");
  must(again->message == (header->message.empty() ? code_text(header->code) : std::string_view(header->message)),
       "an error keeps its message");
  return 0;
}
