// Results of send, ack, nack and extend as a client reads them.
#include "protocol/limits.hpp"
#include "protocol/payload.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  MsgpackReader reader;
  const auto results = decode_results(input_of(data, size), reader);
  if (!results) {
    must_be_readable(results.error());
    return 0;
  }
  must(results->size() <= kBatchMessagesMax, "the number of results is bounded");
  ResultWriter writer(results->size());
  for (const ItemResult& result : *results) {
    if (result.code != Errc::kOk) {
      writer.error({result.code, result.text});
    } else if (result.duplicate) {
      writer.duplicate();
    } else {
      writer.ok();
    }
  }
  const std::string bytes = writer.finish();
  const auto again = decode_results(bytes, reader);
  must(again && again->size() == results->size(), "encoded results can be decoded");
  for (std::size_t i = 0; i < again->size(); ++i) {
    const ItemResult& before = (*results)[i];
    const ItemResult& after = (*again)[i];
    must(after.code == before.code, "a result keeps its code");
    if (before.code == Errc::kOk) {
      must(after.duplicate == before.duplicate, "a duplicate stays one");
    } else {
      must(after.text == (before.text.empty() ? code_text(before.code) : std::string_view(before.text)),
           "a failure keeps its sentence");
    }
  }
  return 0;
}
