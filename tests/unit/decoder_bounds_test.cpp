// Faults that the fuzzers found in the decoders, each with a test that keeps it mended.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "protocol/header.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"
#include "protocol/payload.hpp"
#include "protocol/queue_info.hpp"

namespace dmq {
namespace {

Error error_of_op(const std::string& op) {
  std::string bytes;
  Packer packer(bytes);
  packer.map(2);
  packer.text("v");
  packer.number(1);
  packer.text("op");
  packer.text(op);
  MsgpackReader reader;
  RequestHeader header;
  const auto decoded = decode_request_header(bytes, reader, header);
  REQUIRE_FALSE(decoded);
  return decoded.error();
}

}  // namespace

TEST_CASE("an unknown operation is shown in its error only when it is short, clean text", "[protocol][header]") {
  const Error without_its_name{Errc::kUnknownOp, "there is no operation '?'"};
  CHECK(error_of_op("transmogrify") == Error{Errc::kUnknownOp, "there is no operation 'transmogrify'"});
  // A reply with broken UTF-8 in a str raises an exception in the decoders of other languages.
  CHECK(error_of_op("\xff\xfe") == without_its_name);
  CHECK(error_of_op("a\nb") == without_its_name);
  CHECK(error_of_op(std::string(39, 'a') + "\xc3\xbc") == without_its_name);
}

TEST_CASE("an unknown request to metad is shown in its error only when it is clean text", "[protocol][catalog]") {
  std::string bytes;
  Packer packer(bytes);
  packer.map(3);
  packer.text("id");
  packer.number(8);
  packer.text("op");
  packer.text("\x84napshot");
  packer.text("body");
  packer.map(0);
  MsgpackReader reader;
  const auto decoded = decode_metad_request(bytes, reader);
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().context == "metad has no operation '?'");
}

TEST_CASE("an unknown queue setting is shown in its error only when it is clean text", "[protocol][queue_info]") {
  MsgpackReader reader;
  const auto decoded = decode_queue_settings("\x81\xa2\xff\xfe\x05", reader);
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error() == Error{Errc::kInvalidArgument,
                                 "there is no setting '?'; known: lease_ms, confirm, delay_ms, ttl_ms, pause_send, "
                                 "pause_receive, priority_weights, max_deliveries, retry_backoff, retry_delay_ms, "
                                 "retry_delay_max_ms, retry_jitter, max_messages, max_bytes, max_message_bytes, "
                                 "max_leased, max_leased_by_consumer, when_full, dedup, dedup_window_ms, dead_letter, "
                                 "owner, partitions, key_partitions"});
}

TEST_CASE("a payload of very many tiny values is refused before it takes memory", "[protocol][payload]") {
  // 1,000 arrays of 1,000 nils: 1 MB here, and 24 MB of objects; 32 MB would be 800 MB of objects.
  std::string thousand;
  Packer(thousand).array(1000);
  thousand.append(1000, '\xc0');
  std::string payload;
  Packer(payload).array(1000);
  for (int i = 0; i < 1000; ++i) payload += thousand;
  MsgpackReader reader;
  std::vector<SendItem> items;
  const auto decoded = decode_send(payload, reader, items);
  REQUIRE_FALSE(decoded);
  CHECK(decoded.error().code == Errc::kTooLarge);
}

TEST_CASE("the most values that the other limits allow are read", "[protocol][payload]") {
  std::vector<std::string> names;  // what the views point into
  for (int i = 0; i < 64; ++i) names.push_back("name-" + std::to_string(i));
  std::vector<HeaderView> headers;
  for (const std::string& name : names) headers.emplace_back(name, "value");
  SendWriter writer;
  for (int i = 0; i < 1000; ++i) writer.add("body", pack_attributes({.headers = headers}));
  const std::string payload = writer.finish();
  MsgpackReader reader;
  std::vector<SendItem> items;
  REQUIRE(decode_send(payload, reader, items));
  CHECK(items.size() == 1000);
  CHECK(items.back().error.code == Errc::kOk);
}

}  // namespace dmq
