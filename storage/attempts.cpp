// See attempts.hpp.
#include "storage/attempts.hpp"

#include <algorithm>

namespace dmq {

void Attempts::put(const QueuePlace& queue, std::string_view attempt, std::vector<GivenLease> leases, TimeMs until) {
  const Key key{queue, std::string(attempt)};
  if (const auto before = known_.find(key); before != known_.end()) by_end_.erase({before->second.until, key});
  known_[key] = {std::move(leases), until};
  by_end_.emplace(until, key);
  if (known_.size() <= kAttemptsMax) return;
  known_.erase(by_end_.begin()->second);
  by_end_.erase(by_end_.begin());
}

const std::vector<GivenLease>* Attempts::find(const QueuePlace& queue, std::string_view attempt, TimeMs now) {
  forget(now);
  const auto known = known_.find({queue, std::string(attempt)});
  return known == known_.end() ? nullptr : &known->second.leases;
}

void Attempts::forget(TimeMs now) {
  while (!by_end_.empty() && by_end_.begin()->first <= now) {
    known_.erase(by_end_.begin()->second);
    by_end_.erase(by_end_.begin());
  }
}

void Attempts::tell_again(const QueuePlace& queue, std::string_view attempt) {
  const auto known = known_.find({queue, std::string(attempt)});
  if (known != known_.end()) known->second.told_again = true;
}

bool Attempts::is_told_again(const QueuePlace& queue, const GivenLease& lease) const {
  const auto same = [&lease](const GivenLease& each) { return each.lsn == lease.lsn && each.id == lease.id; };
  for (auto each = known_.lower_bound({queue, {}}); each != known_.end() && each->first.first == queue; ++each) {
    const Got& got = each->second;
    if (got.told_again && std::any_of(got.leases.begin(), got.leases.end(), same)) return true;
  }
  return false;
}

}  // namespace dmq
