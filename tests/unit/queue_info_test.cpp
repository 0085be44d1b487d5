// Settings of a queue as queue.create gives them.
#include "protocol/queue_info.hpp"

#include <catch2/catch.hpp>

#include "hex.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

using namespace dmq;
using dmq::test::from_hex;

namespace {

std::string outcome(std::string_view payload) {
  MsgpackReader reader;
  const auto settings = decode_queue_settings(payload, reader);
  return std::string(code_name(settings ? Errc::kOk : settings.error().code));
}

std::string one_setting(std::string_view key, std::uint64_t value) {
  std::string out;
  Packer packer(out);
  packer.map(1);
  packer.text(key);
  packer.number(value);
  return out;
}

}  // namespace

TEST_CASE("no settings are the defaults", "[protocol][queue_info]") {
  MsgpackReader reader;
  for (const std::string_view payload : {"", "\x80"}) {
    const auto settings = decode_queue_settings(payload, reader);
    REQUIRE(settings);
    CHECK(*settings == QueueSettings{});
    CHECK(settings->lease_ms == DurationMs{kLeaseMsDefault});
  }
}

TEST_CASE("lease_ms of a queue is 100 ms to 12 h", "[protocol][queue_info]") {
  CHECK(outcome(one_setting("lease_ms", kLeaseMsMin)) == "ok");
  CHECK(outcome(one_setting("lease_ms", kLeaseMsMax)) == "ok");
  CHECK(outcome(one_setting("lease_ms", kLeaseMsMin - 1)) == "invalid_argument");
  CHECK(outcome(one_setting("lease_ms", kLeaseMsMax + 1)) == "invalid_argument");
  CHECK(outcome(from_hex("81 a86c656173655f6d73 cb40f0000000000000")) == "invalid_argument");
}

TEST_CASE("a queue is confirmed by all in-sync replicas or by its leader", "[protocol][queue_info]") {
  MsgpackReader reader;
  const auto settings = decode_queue_settings(encode_queue_settings({.confirm = Confirmation::kLeader}), reader);
  REQUIRE(settings);
  CHECK(settings->confirm == Confirmation::kLeader);
  CHECK(outcome(from_hex("81 a7636f6e6669726d a46e6f6e65")) == "invalid_argument");  // "none"
  CHECK(outcome(one_setting("confirm", 1)) == "invalid_argument");
}

TEST_CASE("a setting that is not known is an error with a valid text", "[protocol][queue_info]") {
  MsgpackReader reader;
  for (const std::string& key : {std::string("lease"), std::string("\xff"), std::string(39, 'a') + "\xc3\xa9"}) {
    const std::string payload = one_setting(key, 1000);
    const auto settings = decode_queue_settings(payload, reader);
    REQUIRE_FALSE(settings);
    CHECK(settings.error().code == Errc::kInvalidArgument);
    CHECK(is_clean_utf8(settings.error().context));
  }
}

TEST_CASE("what is no map of settings is malformed", "[protocol][queue_info]") {
  for (const std::string_view text :
       {"c0", "90", "01", "81", "80 00", "81 01 01", "c1", "82 a86c656173655f6d73 cd03e8 a86c656173655f6d73 cd03e8"}) {
    INFO(text);
    CHECK(outcome(from_hex(text)) == "malformed");
  }
  const std::string whole = one_setting("lease_ms", 1000);
  for (std::size_t size = 1; size < whole.size(); ++size) CHECK(outcome(whole.substr(0, size)) == "malformed");
}
