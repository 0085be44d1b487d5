// Fixed fields, one after the other.
#include "storage/control.hpp"

#include <cstring>

namespace dmq {
namespace {

constexpr std::size_t kAckBytes = 8 + 4;
constexpr std::size_t kOldReturnBytes = 8 + 4 + 8;
constexpr std::size_t kLeasedBytes = 8 + 4 + kLeaseBytes;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

template <class T>
T take(std::string_view& bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes.remove_prefix(sizeof value);
  return value;
}

struct Encode {
  std::string& out;
  void operator()(std::monostate) const {}
  void operator()(const Acks& acks) const {
    out.reserve(acks.size() * kAckBytes);
    for (const AckedMessage& ack : acks) {
      put(out, ack.lsn.value);
      put(out, ack.bytes);
    }
  }
  void operator()(const Returns& returns) const {
    for (const ReturnedMessage& message : returns) {
      const std::string state = encode_return_state(message.state);
      put(out, message.lsn.value);
      put(out, static_cast<std::uint16_t>(state.size()));
      out.append(state);
    }
  }
  void operator()(const ProducerNames& names) const {
    for (const std::string& name : names) {
      put(out, static_cast<std::uint8_t>(name.size()));
      out.append(name);
    }
  }
  void operator()(const LogRange& range) const {
    put(out, range.first.value);
    put(out, range.end.value);
  }
  void operator()(const Leases& leases) const {
    out.reserve(leases.size() * kLeasedBytes);
    for (const LeasedMessage& message : leases) {
      put(out, message.lsn.value);
      put(out, message.bytes);
      encode_lease(message.lease, out);
    }
  }
};

tl::unexpected<Error> torn() { return fail(Errc::kInternal, "a control record ends in the middle of an item"); }

Result<ControlBody> decode_acks(std::string_view bytes) {
  if (bytes.size() % kAckBytes != 0) return torn();
  Acks acks;
  acks.reserve(bytes.size() / kAckBytes);
  while (!bytes.empty()) {
    const Lsn lsn{take<std::uint64_t>(bytes)};
    acks.push_back({lsn, take<std::uint32_t>(bytes)});
  }
  return acks;
}

Result<ControlBody> decode_old_returns(std::string_view bytes) {
  if (bytes.size() % kOldReturnBytes != 0) return torn();
  Returns returns;
  returns.reserve(bytes.size() / kOldReturnBytes);
  while (!bytes.empty()) {
    const Lsn lsn{take<std::uint64_t>(bytes)};
    ReturnState state;
    state.deliveries = take<std::uint32_t>(bytes);
    state.ready_ms = {take<std::int64_t>(bytes)};
    returns.push_back({lsn, std::move(state)});
  }
  return returns;
}

Result<ControlBody> decode_returns(std::string_view bytes) {
  constexpr std::size_t kStart = 8 + 2;
  Returns returns;
  while (!bytes.empty()) {
    if (bytes.size() < kStart) return torn();
    const Lsn lsn{take<std::uint64_t>(bytes)};
    const auto size = take<std::uint16_t>(bytes);
    if (size > bytes.size()) return torn();
    auto state = decode_return_state(bytes.substr(0, size));
    if (!state) return fail(Errc::kInternal, "a control record: " + state.error().context);
    returns.push_back({lsn, std::move(*state)});
    bytes.remove_prefix(size);
  }
  return returns;
}

Result<ControlBody> decode_names(std::string_view bytes) {
  ProducerNames names;
  while (!bytes.empty()) {
    const auto size = take<std::uint8_t>(bytes);
    if (size > bytes.size()) return torn();
    names.emplace_back(bytes.substr(0, size));
    bytes.remove_prefix(size);
  }
  return names;
}

Result<ControlBody> decode_range(std::string_view bytes) {
  if (bytes.size() != 2 * sizeof(std::uint64_t)) return torn();
  const Lsn first{take<std::uint64_t>(bytes)};
  return LogRange{first, {take<std::uint64_t>(bytes)}};
}

Result<ControlBody> decode_leases(std::string_view bytes) {
  if (bytes.size() % kLeasedBytes != 0) return torn();
  Leases leases;
  leases.reserve(bytes.size() / kLeasedBytes);
  while (!bytes.empty()) {
    const Lsn lsn{take<std::uint64_t>(bytes)};
    const auto size = take<std::uint32_t>(bytes);
    leases.push_back({lsn, size, take_lease(bytes)});
    if (!leases.back().lease.is_set()) return fail(Errc::kInternal, "a control record has a lease of no term");
  }
  return leases;
}

}  // namespace

std::string encode_control(const ControlBody& body) {
  std::string out;
  std::visit(Encode{out}, body);
  return out;
}

Result<ControlBody> decode_control(RecordType type, std::string_view bytes) {
  switch (type) {
    case RecordType::kAcks:
      return decode_acks(bytes);
    case RecordType::kOldReturns:
      return decode_old_returns(bytes);
    case RecordType::kReturns:
      return decode_returns(bytes);
    case RecordType::kForgetProducers:
      return decode_names(bytes);
    case RecordType::kCompare:
      return decode_range(bytes);
    case RecordType::kLeases:
      return decode_leases(bytes);
    case RecordType::kEpochStart:
    case RecordType::kDropQueue:
    case RecordType::kPurge:
      if (bytes.empty()) return ControlBody{};
      break;
    case RecordType::kMessage:
      break;
  }
  return fail(Errc::kInternal, "a control record has the body of another type");
}

}  // namespace dmq
