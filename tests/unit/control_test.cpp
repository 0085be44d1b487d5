// Control records and what is kept of a message: what is written is read, and what is torn is refused.
#include "storage/control.hpp"

#include <catch2/catch.hpp>

namespace dmq {
namespace {

const LoggedLease kLease{{{5}, {12}}, DurationMs{30'000}, {1'700'000'000'123}};

ReturnState some_state() {
  ReturnState state;
  state.deliveries = 3;
  state.first_ms = {1};
  state.last_ms = {2};
  state.reason = "no stock";
  return state;
}

}  // namespace

TEST_CASE("each control record comes back as it was written", "[storage][control]") {
  ReturnState moved = some_state();
  moved.move = {MoveCause::kQueueFull, {9}};
  ReturnState leased = some_state();
  leased.lease = kLease;
  const std::vector<std::pair<RecordType, ControlBody>> all{
      {RecordType::kAcks, Acks{{{7}, 1200}, {{9}, 64}}},
      {RecordType::kReturns, Returns{{{7}, moved}, {{8}, leased}, {{9}, {}}}},
      {RecordType::kForgetProducers, ProducerNames{"till-3", ""}},
      {RecordType::kCompare, LogRange{{3}, {9}}},
      {RecordType::kLeases, Leases{{{7}, 1200, kLease}, {{9}, 64, kLease}}},
      {RecordType::kPurge, {}}};
  for (const auto& [type, body] : all) {
    INFO(static_cast<int>(type));
    const auto read = decode_control(type, encode_control(body));
    REQUIRE(read);
    CHECK((*read == body));
  }
}

TEST_CASE("a record of leases that is torn, or names no term, is refused", "[storage][control]") {
  const std::string one = encode_control(Leases{{{7}, 1200, kLease}});
  for (std::size_t size = 1; size < one.size(); ++size) {
    INFO(size);
    CHECK_FALSE(decode_control(RecordType::kLeases, one.substr(0, size)));
  }
  CHECK_FALSE(decode_control(RecordType::kLeases, encode_control(Leases{{{7}, 1200, {}}})));
}

TEST_CASE("what is kept of a message with a lease in the log is read whole or not at all", "[storage][control]") {
  ReturnState state = some_state();
  state.reason.clear();
  const std::size_t without = encode_return_state(state).size();
  state.lease = kLease;
  const std::string bytes = encode_return_state(state);
  CHECK(bytes.size() == without + kLeaseBytes);
  const auto read = decode_return_state(bytes);
  REQUIRE(read);
  CHECK((*read == state));
  for (std::size_t size = 1; size < bytes.size(); ++size) {
    INFO(size);
    CHECK_FALSE(decode_return_state(bytes.substr(0, size)));
  }
}

TEST_CASE("a cause that is not known, or a lease of no term, is refused", "[storage][control]") {
  constexpr std::size_t kCauseAt = 4 + 8 + 8 + 8;
  ReturnState state = some_state();
  state.lease = kLease;
  std::string bytes = encode_return_state(state);
  bytes[kCauseAt] = static_cast<char>(0x80 | 0x7f);
  CHECK_FALSE(decode_return_state(bytes));
  bytes = encode_return_state(state);
  bytes.replace(kCauseAt + 1 + 8 + 8, 4, 4, '\0');
  CHECK_FALSE(decode_return_state(bytes));
}

}  // namespace dmq
