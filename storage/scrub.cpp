// Rounds of the scrub.
#include "storage/scrub.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::uint64_t kPageBytes = 4096;  // read at the least for a record that cannot be told the size of

}  // namespace

std::optional<TimeMs> Scrub::due() const { return bytes_per_s_ == 0 ? std::nullopt : std::optional(due_); }

std::optional<Scrub::Round> Scrub::step(TimeMs now, const std::vector<PartitionId>& held, RecordSource& records,
                                        const Found& found, const Covered& covered) {
  if (next_ == RecordPlace{}) round_ = {0, 0, 0, now};
  std::uint64_t bytes = 0;
  while (bytes < kStepBytes) {
    const auto at = std::lower_bound(held.begin(), held.end(), next_.partition);
    if (at == held.end()) {
      next_ = {};
      due_ = std::max(now, round_.begun + round_every_);
      return round_;
    }
    if (*at != next_.partition) next_ = {*at, {}};
    bytes += read_some(records, kStepBytes - bytes, found, covered);
  }
  due_ = now + DurationMs{static_cast<std::int64_t>(bytes * 1000 / bytes_per_s_)};
  return std::nullopt;
}

// What there is of one partition, up to `most` bytes or a little more.
std::uint64_t Scrub::read_some(RecordSource& records, std::uint64_t most, const Found& found, const Covered& covered) {
  const PartitionId partition = next_.partition;
  std::uint64_t read = 0;
  bool more = false;
  const auto visit = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    if (more = read >= most; more) return false;
    next_.lsn = Lsn{lsn.value + 1};
    read += record ? bytes.size() : kPageBytes;
    ++round_.records;
    range_messages_ += record && record->header.type == RecordType::kMessage ? 1 : 0;
    if (!record) {
      ++round_.damaged;
      found({partition, lsn}, record.error());
    }
    return true;
  };
  const bool readable = records.scan(next_, visit).has_value();
  range_bytes_ += read;
  if (readable && !more) {
    cover(Lsn{UINT64_MAX}, covered);
    range_first_ = Lsn{1};
    next_ = {{static_cast<std::uint16_t>(partition.value + 1)}, {}};
  } else if (range_bytes_ >= kRangeBytes || range_messages_ >= kRangeMessages) {
    cover(next_.lsn, covered);
    range_first_ = next_.lsn;
  }
  round_.bytes += read;
  return readable ? read : std::max(read, most);
}

void Scrub::cover(Lsn end, const Covered& covered) {
  if (range_messages_ > 0) covered(next_.partition, {range_first_, end});
  range_bytes_ = range_messages_ = 0;
}

}  // namespace dmq
