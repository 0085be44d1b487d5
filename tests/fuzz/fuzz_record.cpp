// Records on disk: whatever the bytes, a record is read only if its checksum and all its lengths fit.
#include "storage/record.hpp"

#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

constexpr RecordPlace kPlace{{1}, {2}};

// A record that claims what the input claims, with a checksum that is right: reaches what lies behind the checksum.
void write_and_read(const RecordHeader& header, std::string_view rest) {
  RecordHeader fitting = header;
  fitting.set_key(header.key);
  const std::string_view producer = rest.substr(0, header.producer_bytes);
  fitting.producer_bytes = static_cast<std::uint8_t>(producer.size());
  rest.remove_prefix(producer.size());
  fitting.attribute_bytes = static_cast<std::uint32_t>(rest.size() / 2);
  fitting.body_bytes = static_cast<std::uint32_t>(rest.size() - rest.size() / 2);
  std::string bytes(record_bytes(fitting), '\0');
  const std::string_view attributes = rest.substr(0, fitting.attribute_bytes);
  const std::string_view body = rest.substr(fitting.attribute_bytes);
  write_record(bytes.data(), kPlace, {fitting, producer, attributes, body});
  const auto again = read_record(bytes, kPlace);
  must(again.has_value(), "a record that was written is read");
  must(again->attributes == attributes && again->body == body, "attributes and body come back");
  must(again->producer == producer, "the producer comes back");
  must(again->header.key == header.key, "the key comes back");
  must(again->header.queue == header.queue && again->header.epoch == header.epoch, "the header comes back");
  must(!read_record(bytes, {{1}, {3}}), "a record in a wrong place is refused");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  const auto record = read_record(input, kPlace);
  if (record) {
    must(record_bytes(record->header) == input.size(), "a record fills its bytes");
    must_be_inside(record->body, input);
    must_be_inside(record->attributes, input);
    must_be_inside(record->producer, input);
  }
  const auto header = read_record_header(input);
  must(header || !record, "a record has a header");
  if (header) write_and_read(*header, input.substr(header_bytes(*header)));
  return 0;
}
