// Envelopes between router and worker: one encoding for each, and a change of kind changes nothing else.
#include "protocol/envelope.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

bool same(const Envelope& a, const Envelope& b) {
  return a.kind == b.kind && a.delimiter == b.delimiter && a.admin == b.admin && a.hops == b.hops &&
         a.partition == b.partition && a.epoch == b.epoch && a.position == b.position && a.queue == b.queue &&
         a.client == b.client;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  auto envelope = decode_envelope(input);
  if (!envelope) {
    must_be_readable(envelope.error());
    return 0;
  }
  must_be_inside(envelope->client, input);
  must(envelope->client.size() <= kRoutingIdBytesMax, "the client's routing id is bounded");
  std::string bytes = encode_envelope(*envelope);
  const auto again = decode_envelope(bytes);
  must(again && same(*again, *envelope), "decode(encode(envelope)) is the envelope");
  set_envelope_kind(bytes.data(), EnvelopeKind::kHandBack);
  const auto handed_back = decode_envelope(bytes);
  envelope->kind = EnvelopeKind::kHandBack;
  must(handed_back && same(*handed_back, *envelope), "a change of kind changes nothing else");
  return 0;
}
