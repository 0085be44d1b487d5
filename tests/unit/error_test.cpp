// The table of error codes is wire contract: this test lists it literally.
#include "protocol/error.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

using namespace dmq;

namespace {

struct Row {
  Errc code;
  int number;
  std::string name;
  bool retry;
};

// Append only. A line that has to change here is a broken contract.
const std::vector<Row> kContract{
    {Errc::kOk, 0, "ok", false},
    {Errc::kMalformed, 1, "malformed", false},
    {Errc::kUnsupportedVersion, 2, "unsupported_version", false},
    {Errc::kUnknownOp, 3, "unknown_op", false},
    {Errc::kInvalidArgument, 4, "invalid_argument", false},
    {Errc::kTooLarge, 5, "too_large", false},
    {Errc::kNoSuchQueue, 6, "no_such_queue", false},
    {Errc::kQueueExists, 7, "queue_exists", false},
    {Errc::kDenied, 8, "denied", false},
    {Errc::kUnavailable, 9, "unavailable", true},
    {Errc::kInsufficientStorage, 10, "insufficient_storage", true},
    {Errc::kStaleReceipt, 11, "stale_receipt", false},
    {Errc::kOutOfSequence, 12, "out_of_sequence", false},
    {Errc::kUnsupported, 13, "unsupported", false},
    {Errc::kInternal, 14, "internal", false},
    {Errc::kNotEnoughReplicas, 15, "not_enough_replicas", true},
};

}  // namespace

TEST_CASE("each error code keeps its number, name and retry flag", "[protocol][error]") {
  for (const Row& row : kContract) {
    INFO(row.name);
    CHECK(static_cast<int>(row.code) == row.number);
    CHECK(code_name(row.code) == row.name);
    CHECK(is_retryable(row.code) == row.retry);
    CHECK(code_from_name(row.name) == row.code);
    CHECK_FALSE(code_text(row.code).empty());
  }
}

TEST_CASE("no two error codes share a name or a sentence", "[protocol][error]") {
  std::set<std::string_view> names;
  std::set<std::string_view> texts;
  for (const Row& row : kContract) {
    CHECK(names.insert(code_name(row.code)).second);
    CHECK(texts.insert(code_text(row.code)).second);
  }
}

TEST_CASE("a name that is no error code is not taken for one", "[protocol][error]") {
  for (const std::string_view name : {"", "OK", "ok ", "malforme", "malformedx", "stale-receipt", "busy"}) {
    INFO(name);
    CHECK(code_from_name(name) == std::nullopt);
  }
}
