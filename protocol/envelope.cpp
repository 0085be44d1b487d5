// Codec of the envelope: a fixed little-endian layout, because it is read and written for each request.
#include "protocol/envelope.hpp"

#include <bit>
#include <cstring>

namespace dmq {
namespace {

static_assert(std::endian::native == std::endian::little, "the layouts on wire and disk are little-endian");

constexpr char kVersion = 1;
constexpr int kDelimiterFlag = 1;
constexpr int kAdminFlag = 2;

template <class T>
void put(std::string& out, std::size_t at, T value) {
  std::memcpy(out.data() + at, &value, sizeof value);
}

template <class T>
T get(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

std::string encode_envelope(const Envelope& envelope) {
  std::string out(kEnvelopeBytes, '\0');
  out[0] = kVersion;
  out[1] = static_cast<char>(envelope.kind);
  out[2] = static_cast<char>((envelope.delimiter ? kDelimiterFlag : 0) | (envelope.admin ? kAdminFlag : 0));
  out[3] = static_cast<char>(envelope.hops);
  put(out, 4, envelope.partition.value);
  put(out, 8, envelope.epoch.value);
  put(out, 12, envelope.position);
  put(out, 16, envelope.queue.value);
  out.append(envelope.client);
  return out;
}

Result<Envelope> decode_envelope(std::string_view bytes) {
  if (bytes.size() < kEnvelopeBytes || bytes.size() > kEnvelopeBytes + kRoutingIdBytesMax || bytes[0] != kVersion ||
      static_cast<unsigned char>(bytes[1]) > 3 ||
      static_cast<unsigned char>(bytes[2]) > (kDelimiterFlag | kAdminFlag)) {
    return fail(Errc::kMalformed, "not an envelope of version 1");
  }
  Envelope envelope;
  envelope.kind = static_cast<EnvelopeKind>(bytes[1]);
  envelope.delimiter = (bytes[2] & kDelimiterFlag) != 0;
  envelope.admin = (bytes[2] & kAdminFlag) != 0;
  envelope.hops = static_cast<std::uint8_t>(bytes[3]);
  envelope.partition.value = get<std::uint16_t>(bytes, 4);
  envelope.epoch.value = get<std::uint32_t>(bytes, 8);
  envelope.position = get<std::uint32_t>(bytes, 12);
  envelope.queue.value = get<std::uint64_t>(bytes, 16);
  envelope.client = bytes.substr(kEnvelopeBytes);
  return envelope;
}

void set_envelope_kind(char* bytes, EnvelopeKind kind) { bytes[1] = static_cast<char>(kind); }

}  // namespace dmq
