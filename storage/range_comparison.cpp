// Votes on ranges.
#include "storage/range_comparison.hpp"

#include <xxhash.h>

#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/replication.hpp"

namespace dmq {

void RangeHasher::add(Lsn lsn, std::string_view record, std::string_view state) {
  bytes_.append(reinterpret_cast<const char*>(&lsn.value), sizeof lsn.value);
  bytes_.append(record.substr(0, kShippedChecksumBytes));
  bytes_.append(state);
}

std::uint64_t RangeHasher::finish() const { return XXH3_64bits(bytes_.data(), bytes_.size()) & (kNumberMax - 1); }

void RangeComparison::begin(Lsn at, LogRange range, std::uint64_t own) {
  if (open_.size() == kOpenMax) open_.pop_front();
  open_.push_back({at, range, own, {}});
}

std::optional<RangeComparison::Doubt> RangeComparison::take(const std::string& name, Lsn at, std::uint64_t hash,
                                                            const std::vector<std::string>& others) {
  const auto open = std::find_if(open_.begin(), open_.end(), [at](const Open& each) { return each.at == at; });
  if (open == open_.end()) return std::nullopt;
  const auto served = served_.find(name);
  const bool abstains = served != served_.end() && at < served->second;
  open->words[name] = abstains ? std::nullopt : std::optional(hash);
  for (const std::string& other : others) {
    if (!open->words.contains(other)) return std::nullopt;
  }
  auto doubt = judge(*open);
  open_.erase(open);
  return doubt;
}

std::optional<RangeComparison::Doubt> RangeComparison::judge(const Open& open) {
  std::map<std::uint64_t, std::size_t> votes{{open.own, 1}};
  for (const auto& [name, hash] : open.words) {
    if (hash) ++votes[*hash];
  }
  if (votes.size() == 1) return std::nullopt;
  const auto most =
      std::max_element(votes.begin(), votes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  const std::uint64_t good = most->second > votes.at(open.own) ? most->first : open.own;
  Doubt doubt{open.range, open.own != good, {}};
  for (const auto& [name, hash] : open.words) {
    if (hash && *hash != good) doubt.followers.push_back(name);
  }
  return doubt;
}

}  // namespace dmq
