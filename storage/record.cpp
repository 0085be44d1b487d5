// Codec of records.
#include "storage/record.hpp"

#include <xxhash.h>

#include <cstring>

namespace dmq {
namespace {

constexpr std::size_t kHeaderBytesV1 = 56;

template <class T>
void put(char* out, std::size_t at, T value) {
  std::memcpy(out + at, &value, sizeof value);
}

template <class T>
T get(const char* bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes + at, sizeof value);
  return value;
}

std::uint64_t checksum(const char* record, std::size_t size, RecordPlace place) {
  const std::uint64_t seed = place.lsn.value ^ (std::uint64_t{place.partition.value} << 48);
  return XXH3_64bits_withSeed(record + 8, size - 8, seed);
}

char* append(char* out, std::string_view bytes) {
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return out + bytes.size();
}

}  // namespace

void write_record(char* out, RecordPlace place, const RecordView& record) {
  const RecordHeader& header = record.header;
  put(out, 8, header.version);
  put(out, 9, header.type);
  put(out, 10, header.producer_bytes);
  put(out, 11, header.priority);
  put(out, 12, header.epoch.value);
  put(out, 16, header.queue.value);
  put(out, 24, header.sent_ms.value);
  put(out, 32, header.ready_ms.value);
  put(out, 40, header.expires_ms.value);
  put(out, 48, header.attribute_bytes);
  put(out, 52, header.body_bytes);
  put(out, 56, header.sequence.value);
  if (header.version == kKeyedRecordVersion) put(out, kRecordHeaderBytes, header.key.value);
  append(append(append(out + header_bytes(header), record.producer), record.attributes), record.body);
  put(out, 0, checksum(out, record_bytes(header), place));
}

Result<RecordHeader> read_record_header(std::string_view bytes) {
  if (bytes.size() < kHeaderBytesV1) return fail(Errc::kInternal, "record is shorter than its header");
  const char* const at = bytes.data();
  RecordHeader header;
  header.version = get<std::uint8_t>(at, 8);
  if (header.version < 1 || header.version > kKeyedRecordVersion) {
    return fail(Errc::kInternal, "record is of an unknown version");
  }
  if (bytes.size() < header_bytes(header)) return fail(Errc::kInternal, "record is shorter than its header");
  header.type = get<RecordType>(at, 9);
  if (header.type < RecordType::kMessage || header.type > RecordType::kLeases) {
    return fail(Errc::kInternal, "record is of an unknown type");
  }
  header.priority = get<std::uint8_t>(at, 11);
  header.epoch.value = get<std::uint32_t>(at, 12);
  header.queue.value = get<std::uint64_t>(at, 16);
  header.sent_ms.value = get<std::int64_t>(at, 24);
  header.ready_ms.value = get<std::int64_t>(at, 32);
  header.expires_ms.value = get<std::int64_t>(at, 40);
  header.attribute_bytes = get<std::uint32_t>(at, 48);
  header.body_bytes = get<std::uint32_t>(at, 52);
  if (header.version == 1) return header;
  header.producer_bytes = get<std::uint8_t>(at, 10);
  header.sequence.value = get<std::uint64_t>(at, 56);
  if (header.version == kKeyedRecordVersion) header.key.value = get<std::uint64_t>(at, kRecordHeaderBytes);
  return header;
}

Result<RecordView> read_record(std::string_view bytes, RecordPlace place) {
  const auto header = read_record_header(bytes);
  if (!header) return tl::unexpected<Error>(header.error());
  if (bytes.size() != record_bytes(*header)) return fail(Errc::kInternal, "record has a wrong length");
  if (get<std::uint64_t>(bytes.data(), 0) != checksum(bytes.data(), bytes.size(), place)) {
    return fail(Errc::kInternal, "record does not match its checksum");
  }
  const std::string_view rest = bytes.substr(header_bytes(*header));
  return RecordView{*header, rest.substr(0, header->producer_bytes),
                    rest.substr(header->producer_bytes, header->attribute_bytes),
                    rest.substr(header->producer_bytes + header->attribute_bytes)};
}

}  // namespace dmq
