// The envelope between router and worker: its bytes, its limits, and that a worker can turn it round in place.
#include "protocol/envelope.hpp"

#include <catch2/catch.hpp>

#include "hex.hpp"

using namespace dmq;
using dmq::test::from_hex;
using dmq::test::to_hex;

namespace {

const std::string kClient = from_hex("006b8b4567");

Envelope sample() {
  return {.kind = EnvelopeKind::kRequest,
          .delimiter = true,
          .admin = true,
          .hops = 7,
          .partition = {0x0102},
          .epoch = {0x03040506},
          .position = 0x0f101112,
          .queue = {0x0708090a0b0c0d0e},
          .client = kClient};
}

}  // namespace

TEST_CASE("the envelope has the layout of the protocol page", "[protocol][envelope]") {
  CHECK(to_hex(encode_envelope(sample())) ==
        "01000307"          // version, kind, flags, hops
        "02010000"          // partition, zero
        "060504031211100f"  // epoch, position
        "0e0d0c0b0a090807"  // queue
        "006b8b4567");      // the client's routing id
}

TEST_CASE("an envelope comes back from its bytes", "[protocol][envelope]") {
  for (const auto kind :
       {EnvelopeKind::kRequest, EnvelopeKind::kReply, EnvelopeKind::kHandBack, EnvelopeKind::kUndeliverable}) {
    for (const bool delimiter : {false, true}) {
      Envelope envelope = sample();
      envelope.kind = kind;
      envelope.delimiter = delimiter;
      const std::string bytes = encode_envelope(envelope);
      const auto decoded = decode_envelope(bytes);
      REQUIRE(decoded);
      CHECK(decoded->kind == kind);
      CHECK(decoded->delimiter == delimiter);
      CHECK(decoded->admin);
      CHECK(decoded->hops == 7);
      CHECK(decoded->partition == envelope.partition);
      CHECK(decoded->epoch == envelope.epoch);
      CHECK(decoded->position == envelope.position);
      CHECK(decoded->queue == envelope.queue);
      CHECK(decoded->client == kClient);
    }
  }
}

TEST_CASE("a change of kind leaves the rest of the envelope alone", "[protocol][envelope]") {
  std::string bytes = encode_envelope(sample());
  Envelope reply = sample();
  reply.kind = EnvelopeKind::kReply;
  set_envelope_kind(bytes.data(), EnvelopeKind::kReply);
  CHECK(bytes == encode_envelope(reply));
}

TEST_CASE("the client's routing id may have 0 to 255 bytes", "[protocol][envelope]") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kRoutingIdBytesMax}) {
    const std::string client(size, 'c');
    Envelope envelope = sample();
    envelope.client = client;
    const std::string bytes = encode_envelope(envelope);
    const auto decoded = decode_envelope(bytes);
    REQUIRE(decoded);
    CHECK(decoded->client == client);
  }
  CHECK_FALSE(decode_envelope(encode_envelope(sample()) + std::string(kRoutingIdBytesMax, 'c')));
}

TEST_CASE("every truncation of an envelope before the client is refused", "[protocol][envelope]") {
  const std::string bytes = encode_envelope(sample());
  for (std::size_t size = 0; size < kEnvelopeBytes; ++size) {
    INFO(size);
    const auto decoded = decode_envelope(std::string_view(bytes).substr(0, size));
    REQUIRE_FALSE(decoded);
    CHECK(decoded.error().code == Errc::kMalformed);
  }
}

TEST_CASE("an envelope of another version, kind or flag is refused", "[protocol][envelope]") {
  const std::string good = encode_envelope(sample());
  const auto with = [&](std::size_t at, char value) {
    std::string bytes = good;
    bytes[at] = value;
    return decode_envelope(bytes).has_value();
  };
  CHECK_FALSE(with(0, 0));
  CHECK_FALSE(with(0, 2));
  CHECK(with(1, 3));
  CHECK_FALSE(with(1, 4));
  CHECK_FALSE(with(1, '\xff'));
  CHECK(with(2, 0));
  CHECK(with(2, 3));
  CHECK_FALSE(with(2, 4));
  CHECK_FALSE(with(2, '\x81'));
}
