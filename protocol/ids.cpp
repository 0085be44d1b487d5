// Texts of message ids ("partition-lsn") and receipts ("partition.epoch.lsn.lease"), in decimal.
#include "protocol/ids.hpp"

#include <charconv>

namespace dmq {
namespace {

template <class Rep>
char* put(char* at, char* end, Rep value) {
  return std::to_chars(at, end, value).ptr;
}

// Takes one decimal number and, unless it is the last, the dot behind it. False: not a canonical number.
template <class Rep>
bool take(const char*& at, const char* end, bool last, Rep& value) {
  const char* const start = at;
  const auto [stop, fault] = std::from_chars(at, end, value);
  if (fault != std::errc{} || stop == start || (*start == '0' && stop - start > 1)) return false;
  at = stop;
  if (last) return at == end;
  if (at == end || *at != '.') return false;
  ++at;
  return true;
}

}  // namespace

std::size_t write_message_id(PartitionId partition, Lsn lsn, char (&out)[kMessageIdTextMax]) {
  char* const end = out + kMessageIdTextMax;
  char* at = put(out, end, partition.value);
  *at++ = '-';
  at = put(at, end, lsn.value);
  return static_cast<std::size_t>(at - out);
}

std::size_t write_receipt(const Receipt& receipt, char (&out)[kReceiptTextMax]) {
  char* const end = out + kReceiptTextMax;
  char* at = put(out, end, receipt.partition.value);
  *at++ = '.';
  at = put(at, end, receipt.epoch.value);
  *at++ = '.';
  at = put(at, end, receipt.lsn.value);
  *at++ = '.';
  at = put(at, end, receipt.lease.value);
  return static_cast<std::size_t>(at - out);
}

std::string message_id_text(PartitionId partition, Lsn lsn) {
  char text[kMessageIdTextMax];
  return std::string(text, write_message_id(partition, lsn, text));
}

Result<Lsn> parse_message_id(std::string_view text, PartitionId partition) {
  const std::string start = std::to_string(partition.value) + '-';
  Lsn lsn;
  const char* at = text.data() + std::min(start.size(), text.size());
  const bool good = text.size() <= kMessageIdTextMax && text.starts_with(start) &&
                    take(at, text.data() + text.size(), true, lsn.value);
  if (!good) return fail(Errc::kInvalidArgument, "this text is no id of a message of this queue");
  return lsn;
}

std::string receipt_text(const Receipt& receipt) {
  char text[kReceiptTextMax];
  return std::string(text, write_receipt(receipt, text));
}

Result<Receipt> parse_receipt(std::string_view text) {
  Receipt receipt;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (text.size() <= kReceiptTextMax && take(at, end, false, receipt.partition.value) &&
      take(at, end, false, receipt.epoch.value) && take(at, end, false, receipt.lsn.value) &&
      take(at, end, true, receipt.lease.value)) {
    return receipt;
  }
  return fail(Errc::kStaleReceipt, "this text is no receipt");
}

}  // namespace dmq
