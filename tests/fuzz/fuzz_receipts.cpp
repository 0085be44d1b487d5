// Payloads of ack, nack and extend, and the text of a receipt: one text for one receipt.
#include "protocol/limits.hpp"
#include "protocol/payload.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  const std::string_view input = input_of(data, size);
  // The text alone, so that the fuzzer reaches it without a frame around it.
  if (const auto receipt = parse_receipt(input)) must(receipt_text(*receipt) == input, "one text for one receipt");

  MsgpackReader reader;
  std::vector<std::string_view> receipts;
  if (const auto decoded = decode_receipts(input, reader, receipts); !decoded) {
    must_be_readable(decoded.error());
    return 0;
  }
  must(!receipts.empty() && receipts.size() <= kBatchMessagesMax, "the number of receipts is bounded");
  std::vector<std::string> texts;
  for (const std::string_view receipt : receipts) {
    must_be_inside(receipt, input);
    texts.emplace_back(receipt);
    if (const auto parsed = parse_receipt(receipt)) must(receipt_text(*parsed) == receipt, "one text for one receipt");
  }
  const std::string bytes = encode_receipts(texts);
  must(decode_receipts(bytes, reader, receipts).has_value(), "encoded receipts can be decoded");
  must(std::vector<std::string>(receipts.begin(), receipts.end()) == texts,
       "decode(encode(receipts)) are the receipts");
  return 0;
}
