// The bounded reader: limits from both sides, the profile's refusals, conversions and names.
#include "protocol/msgpack_reader.hpp"

#include <catch2/catch.hpp>

#include "hex.hpp"
#include "protocol/limits.hpp"
#include "protocol/packing.hpp"

using namespace dmq;
using dmq::test::from_hex;

namespace {

constexpr ReadLimits kSmall{.array_items = 3, .map_keys = 2, .string_bytes = 4, .binary_bytes = 5, .values = 6};

// What reading gives: "ok" or the error's code.
std::string outcome(std::string_view bytes, const ReadLimits& limits = kSmall) {
  MsgpackReader reader;
  const auto object = reader.read(bytes, limits);
  return std::string(code_name(object ? Errc::kOk : object.error().code));
}

std::string outcome_hex(std::string_view text, const ReadLimits& limits = kSmall) {
  return outcome(from_hex(text), limits);
}

std::string nested_arrays(std::size_t depth) { return std::string(depth - 1, '\x91') + '\x90'; }

std::string nested_maps(std::size_t depth) {
  std::string bytes;
  for (std::size_t i = 1; i < depth; ++i) bytes += "\x81\xa1k";
  return bytes + '\x80';
}

msgpack::object read_one(MsgpackReader& reader, std::string_view bytes) {
  const auto object =
      reader.read(bytes, {.array_items = 100, .map_keys = 100, .string_bytes = 100, .binary_bytes = 100});
  REQUIRE(object);
  return *object;
}

}  // namespace

TEST_CASE("each limit of the reader holds on both sides", "[protocol][msgpack]") {
  CHECK(outcome_hex("93 01 02 03") == "ok");
  CHECK(outcome_hex("94 01 02 03 04") == "too_large");
  CHECK(outcome_hex("82 a161 01 a162 02") == "ok");
  CHECK(outcome_hex("83 a161 01 a162 02 a163 03") == "too_large");
  CHECK(outcome_hex("a4 61616161") == "ok");
  CHECK(outcome_hex("a5 6161616161") == "too_large");
  CHECK(outcome_hex("c405 0000000000") == "ok");
  CHECK(outcome_hex("c406 000000000000") == "too_large");
}

TEST_CASE("the sum of all counts has a limit of its own", "[protocol][msgpack]") {
  CHECK(outcome_hex("92 92 01 02 92 01 02") == "ok");            // 2 + 2 + 2
  CHECK(outcome_hex("93 92 01 02 92 01 02 03") == "too_large");  // 3 + 2 + 2
  CHECK(outcome_hex("91 82 a161 01 a162 02 ") == "ok");          // 1 + 4
  CHECK(outcome_hex("93 82 a161 01 a162 02 01 02") == "too_large");
  // Thirty megabytes that would become hundreds of megabytes of objects.
  std::string row("\xdc\x03\xe8", 3);
  row.append(1000, '\x01');
  std::string flood("\xdc\x03\xe8", 3);
  for (int i = 0; i < 1000; ++i) flood += row;
  const ReadLimits payload{.array_items = 1000,
                           .map_keys = 64,
                           .string_bytes = 1 << 20,
                           .binary_bytes = 1 << 20,
                           .values = kPayloadValuesMax};
  CHECK(outcome(flood, payload) == "too_large");
}

TEST_CASE("a value may be nested 8 deep", "[protocol][msgpack]") {
  const ReadLimits limits{.array_items = 10, .map_keys = 10, .string_bytes = 10, .binary_bytes = 10};
  CHECK(outcome(nested_arrays(kDepthMax), limits) == "ok");
  CHECK(outcome(nested_arrays(kDepthMax + 1), limits) == "malformed");
  CHECK(outcome(nested_maps(kDepthMax), limits) == "ok");
  CHECK(outcome(nested_maps(kDepthMax + 1), limits) == "malformed");
}

TEST_CASE("a deep nest costs neither stack nor memory", "[protocol][msgpack]") {
  for (const std::size_t values : {kPayloadValuesMax, SIZE_MAX}) {  // found by the counting, and by the reading itself
    const ReadLimits limits{
        .array_items = 10, .map_keys = 10, .string_bytes = 10, .binary_bytes = 10, .values = values};
    CHECK(outcome(nested_arrays(1'000'000), limits) == "malformed");
    CHECK(outcome(std::string(1'000'000, '\x91'), limits) == "malformed");
    CHECK(outcome(std::string(1'000'000, '\x81'), limits) == "malformed");
  }
}

TEST_CASE("a count or length that is only claimed is refused before memory is taken", "[protocol][msgpack]") {
  for (const std::string_view claim : {"dd ffffffff", "df ffffffff", "db ffffffff", "c6 ffffffff", "dc ffff", "de ffff",
                                       "da ffff", "c5 ffff", "d9 ff", "c4 ff"}) {
    INFO(claim);
    const std::string result = outcome_hex(claim);
    CHECK((result == "too_large" || result == "malformed"));
  }
  CHECK(outcome_hex("dd ffffffff") == "too_large");
  CHECK(outcome_hex("df ffffffff 00") == "too_large");
}

TEST_CASE("extension types and the unused byte are refused", "[protocol][msgpack]") {
  for (const std::string_view bytes :
       {"d4 01 00", "d5 01 0000", "d6 ff 00000000", "d7 ff 0000000000000000", "d8 01 00000000000000000000000000000000",
        "c7 00 01", "c7 01 01 00", "c8 0001 01 00", "c9 00000001 01 00", "c1"}) {
    INFO(bytes);
    CHECK(outcome_hex(bytes) == "malformed");
    CHECK(outcome(std::string(1, '\x91') + from_hex(bytes)) == "malformed");
  }
}

TEST_CASE("bytes behind the value are refused", "[protocol][msgpack]") {
  CHECK(outcome_hex("01") == "ok");
  CHECK(outcome_hex("01 01") == "malformed");
  CHECK(outcome_hex("80 c0") == "malformed");
  CHECK(outcome_hex("90 00") == "malformed");
}

TEST_CASE("every truncation of a value is refused", "[protocol][msgpack]") {
  const std::string whole =
      from_hex("82 a161 93 cd1234 c403010203 cb3ff0000000000000 a162 81 a3616263 d3ffffffffffffffff");
  const ReadLimits limits{.array_items = 10, .map_keys = 10, .string_bytes = 10, .binary_bytes = 10};
  CHECK(outcome(whole, limits) == "ok");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    CHECK(outcome(std::string_view(whole).substr(0, size), limits) == "malformed");
  }
}

TEST_CASE("a reader can be used again after an error", "[protocol][msgpack]") {
  MsgpackReader reader;
  CHECK_FALSE(reader.read(from_hex("dd ffffffff"), kSmall));
  const std::string good = from_hex("93 01 02 03");
  const auto object = reader.read(good, kSmall);
  REQUIRE(object);
  CHECK(object->via.array.size == 3);
}

TEST_CASE("a map has string keys, each once", "[protocol][msgpack]") {
  MsgpackReader reader;
  const auto check = [&](std::string_view text) {
    const std::string bytes = from_hex(text);
    return check_map(read_one(reader, bytes)).has_value();
  };
  CHECK(check("80"));
  CHECK(check("82 a161 01 a162 01"));
  CHECK_FALSE(check("82 a161 01 a161 01"));
  CHECK_FALSE(check("83 a161 01 a162 02 a161 03"));
  CHECK_FALSE(check("82 a161 01 d90161 02"));  // the same key in two encodings
  CHECK_FALSE(check("81 01 01"));
  CHECK_FALSE(check("81 c40161 01"));
  CHECK_FALSE(check("81 c0 01"));
  CHECK_FALSE(check("90"));
  CHECK_FALSE(check("c0"));
}

TEST_CASE("numbers are integers from 0 to 2^53, in any encoding", "[protocol][msgpack]") {
  MsgpackReader reader;
  const auto number = [&](std::string_view text) {
    const std::string bytes = from_hex(text);
    return as_number(read_one(reader, bytes));
  };
  CHECK(number("00") == 0);
  CHECK(number("7f") == 127);
  CHECK(number("cc ff") == 255);
  CHECK(number("cf 0000000000000001") == 1);
  CHECK(number("d3 0000000000000001") == 1);
  CHECK(number("d0 01") == 1);
  CHECK(number("cf 0020000000000000") == kNumberMax);
  CHECK(number("cf 0020000000000001") == std::nullopt);
  CHECK(number("cf ffffffffffffffff") == std::nullopt);
  CHECK(number("ff") == std::nullopt);
  CHECK(number("d3 ffffffffffffffff") == std::nullopt);
  CHECK(number("cb 3ff0000000000000") == std::nullopt);
  CHECK(number("c3") == std::nullopt);
  CHECK(number("a131") == std::nullopt);
}

TEST_CASE("texts are str, bytes are bin or str", "[protocol][msgpack]") {
  MsgpackReader reader;
  const std::string str = from_hex("a2 6869");
  const std::string bin = from_hex("c402 6869");
  CHECK(as_text(read_one(reader, str)) == "hi");
  CHECK(as_text(read_one(reader, bin)) == std::nullopt);
  CHECK(as_bytes(read_one(reader, str)) == "hi");
  CHECK(as_bytes(read_one(reader, bin)) == "hi");
  CHECK(as_bytes(read_one(reader, from_hex("05"))) == std::nullopt);
  CHECK(as_bytes(read_one(reader, from_hex("c0"))) == std::nullopt);
}

TEST_CASE("find_key finds what is there and nothing else", "[protocol][msgpack]") {
  MsgpackReader reader;
  const std::string bytes = from_hex("82 a161 01 a26162 02");
  const msgpack::object map = read_one(reader, bytes);
  REQUIRE(find_key(map, "ab") != nullptr);
  CHECK(as_number(*find_key(map, "ab")) == 2);
  CHECK(find_key(map, "b") == nullptr);
  CHECK(find_key(map, "") == nullptr);
}

TEST_CASE("clean UTF-8 has no control characters, overlong forms or surrogates", "[protocol][msgpack]") {
  for (const std::string_view text :
       {"", "20", "7e", "c2a0", "dfbf", "e0a080", "ed9fbf", "ee8080", "efbfbf", "f0908080", "f48fbfbf", "61c3a962"}) {
    INFO(text);
    CHECK(is_clean_utf8(from_hex(text)));
  }
  for (const std::string_view text :
       {"00",       "09",         "0a",       "1f",       "7f", "80",   "bf",     "c080",   "c1bf",
        "c2",       "c280",       "c29f",     "c2c2",     "e0", "e0a0", "e09fbf", "eda080", "edbfbf",
        "f08fbfbf", "f0908080f0", "f4908080", "f5808080", "fe", "ff",   "61ff62"}) {
    INFO(text);
    CHECK_FALSE(is_clean_utf8(from_hex(text)));
  }
}

TEST_CASE("a queue name has 1 to 200 bytes of clean UTF-8", "[protocol][msgpack]") {
  for (const std::string& name : {std::string("a"), std::string("orders.eu/new {1}"), std::string("\xc3\xa9"),
                                  std::string("."), std::string(kQueueNameBytesMax, 'q')}) {
    INFO(name);
    CHECK(check_queue_name(name));
  }
  for (const std::string& name : {std::string(), std::string(kQueueNameBytesMax + 1, 'q'), std::string("a\nb"),
                                  std::string("a\0b", 3), std::string("\xff")}) {
    INFO(name);
    const auto result = check_queue_name(name);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == Errc::kInvalidArgument);
  }
}

TEST_CASE("the first of several values is told from those behind it", "[protocol]") {
  const std::string value = from_hex("82 a1 61 c4 02 00 ff a1 62 93 01 02 03");
  CHECK(first_value_bytes(value + "\x80") == value.size());
  for (std::size_t part = 0; part < value.size(); ++part) {
    INFO(part);
    CHECK(first_value_bytes(std::string_view(value).substr(0, part)) == 0U);
  }
  CHECK(first_value_bytes(from_hex("c6 ff ff ff ff 00")) == 0U);  // claims 4 GiB, and asks for none
  CHECK(first_value_bytes(nested_maps(8)) == nested_maps(8).size());
  for (const std::string& bad : {nested_maps(9), nested_arrays(9), from_hex("c1"), from_hex("d4 01 00")}) {
    CHECK(first_value_bytes(bad).error().code == Errc::kMalformed);
  }
}
