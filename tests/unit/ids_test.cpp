// Message ids and receipts as texts.
#include "protocol/ids.hpp"

#include <catch2/catch.hpp>
#include <limits>
#include <string>
#include <unordered_set>

using namespace dmq;

namespace {

constexpr Receipt kSmallest{};
constexpr Receipt kLargest{{65535}, {4294967295U}, {18446744073709551615U}, {4294967295U}};

}  // namespace

TEST_CASE("a message id is the partition and the place in its log", "[protocol][ids]") {
  CHECK(message_id_text({0}, {1}) == "0-1");
  CHECK(message_id_text({42}, {1000000}) == "42-1000000");
  CHECK(message_id_text({65535}, {std::numeric_limits<std::uint64_t>::max()}) == "65535-18446744073709551615");
  CHECK(message_id_text({65535}, {std::numeric_limits<std::uint64_t>::max()}).size() == kMessageIdTextMax);
}

TEST_CASE("a receipt comes back from its text", "[protocol][ids]") {
  CHECK(receipt_text(Receipt{{3}, {2}, {77}, {9}}) == "3.2.77.9");
  CHECK(receipt_text(kLargest).size() == kReceiptTextMax);
  for (const Receipt& receipt :
       {kSmallest, kLargest, Receipt{{3}, {2}, {77}, {9}}, Receipt{{10}, {100}, {1000}, {1}}}) {
    const auto parsed = parse_receipt(receipt_text(receipt));
    REQUIRE(parsed);
    CHECK(*parsed == receipt);
  }
}

TEST_CASE("a text that is no receipt is stale, whatever is wrong with it", "[protocol][ids]") {
  const std::string good = receipt_text(Receipt{{3}, {2}, {77}, {9}});
  const std::string cases[] = {"",
                               ".",
                               "...",
                               "1.2.3",
                               "1.2.3.",
                               ".1.2.3",
                               "1..2.3",
                               "1.2.3.4.",
                               "1.2.3.4.5",
                               "1.2.3.4 ",
                               " 1.2.3.4",
                               "1 .2.3.4",
                               "01.2.3.4",
                               "1.02.3.4",
                               "1.2.03.4",
                               "1.2.3.04",
                               "00.0.0.0",
                               "+1.2.3.4",
                               "-1.2.3.4",
                               "1.2.-3.4",
                               "1.2.3.0x4",
                               "1,2,3,4",
                               "a.b.c.d",
                               "65536.1.1.1",
                               "1.4294967296.1.1",
                               "1.1.18446744073709551616.1",
                               "1.1.1.4294967296",
                               good + std::string(1, '\0'),
                               std::string("1.2\0.3.4", 8),
                               "1.2.3.\xd9\xa4",
                               std::string(kReceiptTextMax + 1, '1')};
  for (const std::string& text : cases) {
    INFO(text);
    const auto parsed = parse_receipt(text);
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error().code == Errc::kStaleReceipt);
  }
}

TEST_CASE("no truncation of a receipt is the same receipt", "[protocol][ids]") {
  const std::string whole = receipt_text(kLargest);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    INFO(size);
    const auto parsed = parse_receipt(std::string_view(whole).substr(0, size));
    CHECK((!parsed || *parsed != kLargest));
  }
}

TEST_CASE("ids compare and hash by their number", "[protocol][ids]") {
  CHECK(Lsn{1} < Lsn{2});
  CHECK(Lsn{2} == Lsn{2});
  CHECK((TimeMs{1000} + DurationMs{30}) == TimeMs{1030});
  CHECK((TimeMs{1000} - TimeMs{400}) == DurationMs{600});
  std::unordered_set<QueueId> seen{{1}, {2}, {1}};
  CHECK(seen.size() == 2);
}
