// Records: what is written is read, and nothing else is.
#include "storage/record.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

constexpr RecordPlace kPlace{{7}, {42}};

std::string record_of(std::string_view attributes, std::string_view body, std::string_view producer = {},
                      OrderingKey key = {}) {
  RecordHeader header;
  header.set_key(key);
  header.priority = 3;
  header.epoch = {9};
  header.queue = {77};
  header.sent_ms = {1'700'000'000'123};
  header.ready_ms = {5};
  header.expires_ms = {6};
  header.attribute_bytes = static_cast<std::uint32_t>(attributes.size());
  header.body_bytes = static_cast<std::uint32_t>(body.size());
  header.producer_bytes = static_cast<std::uint8_t>(producer.size());
  header.sequence = {11};
  std::string out(record_bytes(header), '\0');
  write_record(out.data(), kPlace, {header, producer, attributes, body});
  return out;
}

}  // namespace

TEST_CASE("a record comes back as it was written", "[storage][record]") {
  const std::string bytes = record_of("attributes", "body", "producer");
  const auto record = read_record(bytes, kPlace);
  REQUIRE(record);
  CHECK(record->attributes == "attributes");
  CHECK(record->body == "body");
  CHECK(record->producer == "producer");
  CHECK(record->header.sequence == Sequence{11});
  CHECK(record->header.priority == 3);
  CHECK(record->header.epoch == Epoch{9});
  CHECK(record->header.queue == QueueId{77});
  CHECK(record->header.sent_ms == TimeMs{1'700'000'000'123});
  CHECK(record->header.ready_ms == TimeMs{5});
  CHECK(record->header.expires_ms == TimeMs{6});
}

TEST_CASE("a record with an ordering key has it behind the header of one without", "[storage][record]") {
  const std::string bytes = record_of("attributes", "body", "producer", {99});
  CHECK(bytes.size() == record_of("attributes", "body", "producer").size() + 8);
  const auto record = read_record(bytes, kPlace);
  REQUIRE(record);
  CHECK(record->header.key == OrderingKey{99});
  CHECK(record->header.sequence == Sequence{11});
  CHECK(record->producer == "producer");
  CHECK(record->body == "body");
  for (std::size_t size = 0; size < bytes.size(); ++size) CHECK_FALSE(read_record(bytes.substr(0, size), kPlace));
}

TEST_CASE("a record without body and attributes is a record", "[storage][record]") {
  CHECK(read_record(record_of("", ""), kPlace).has_value());
}

TEST_CASE("each flipped bit of a record is noticed", "[storage][record]") {
  const std::string good = record_of("ab", "some body", "p");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    INFO("bit " << bit);
    CHECK_FALSE(read_record(bad, kPlace).has_value());
  }
}

TEST_CASE("a record that is cut short or too long is noticed", "[storage][record]") {
  const std::string good = record_of("ab", "some body", "p");
  for (std::size_t size = 0; size < good.size(); ++size) {
    CHECK_FALSE(read_record(std::string_view(good).substr(0, size), kPlace).has_value());
  }
  CHECK_FALSE(read_record(good + '\0', kPlace).has_value());
}

TEST_CASE("a good record in a wrong place is noticed", "[storage][record]") {
  const std::string bytes = record_of("", "body");
  CHECK_FALSE(read_record(bytes, {{7}, {43}}).has_value());
  CHECK_FALSE(read_record(bytes, {{8}, {42}}).has_value());
}

TEST_CASE("the layout of a record on disk does not change", "[storage][record]") {
  const std::string bytes = record_of("A", "B", "P");
  REQUIRE(bytes.size() == 67);
  CHECK(static_cast<int>(bytes[8]) == 2);    // version
  CHECK(static_cast<int>(bytes[9]) == 1);    // a message
  CHECK(static_cast<int>(bytes[10]) == 1);   // producer bytes
  CHECK(static_cast<int>(bytes[11]) == 3);   // priority
  CHECK(static_cast<int>(bytes[12]) == 9);   // epoch
  CHECK(static_cast<int>(bytes[16]) == 77);  // queue
  CHECK(static_cast<int>(bytes[48]) == 1);   // attribute bytes
  CHECK(static_cast<int>(bytes[52]) == 1);   // body bytes
  CHECK(static_cast<int>(bytes[56]) == 11);  // sequence
  CHECK(bytes.substr(64) == "PAB");
}

}  // namespace dmq
