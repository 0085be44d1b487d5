// See renewal_table.hpp.
#include "clients/cpp/renewal_table.hpp"

#include <algorithm>

namespace dmq {
namespace {

DurationMs part_of(DurationMs lease, std::int64_t parts) {
  return DurationMs{std::max<std::int64_t>(lease.value / parts, 1)};
}

}  // namespace

void RenewalTable::add(std::uint64_t id, RenewalBatch batch, TimeMs began) {
  if (batch.held.empty()) return;
  Entry entry;
  entry.due = began + part_of(batch.lease, 2);
  entry.ends = began + batch.lease;
  entry.batch = std::move(batch);
  batches_.emplace(id, std::move(entry));
}

void RenewalTable::drop(std::uint64_t id, std::string_view receipt) {
  const auto at = batches_.find(id);
  if (at == batches_.end()) return;
  auto& held = at->second.batch.held;
  const auto lease = held.find(receipt);
  if (lease != held.end()) held.erase(lease);
  if (held.empty()) batches_.erase(at);
}

std::optional<Renewal> RenewalTable::next_due(TimeMs now) {
  for (auto& [id, entry] : batches_) {
    if (entry.under_way || now < entry.due) continue;
    // Of a client that comes late the broker says whether the lease is over.
    if (!entry.asked) entry.ends = std::max(entry.ends, now + part_of(entry.batch.lease, 4));
    entry.asked = entry.under_way = true;
    entry.asked_at = now;
    Renewal renewal{id, entry.batch.queue, entry.batch.lease, {}};
    for (const auto& lease : entry.batch.held) renewal.receipts.push_back(lease.first);
    return renewal;
  }
  return std::nullopt;
}

LostLeases RenewalTable::on_answer(std::uint64_t id, const std::vector<std::string>& stale) {
  const auto at = batches_.find(id);
  if (at == batches_.end()) return {};
  Entry& entry = at->second;
  entry.asked = entry.under_way = false;
  entry.due = entry.asked_at + part_of(entry.batch.lease, 2);
  entry.ends = entry.asked_at + entry.batch.lease;
  LostLeases lost{entry.batch.on_lost, {}};
  for (const std::string& receipt : stale) {
    const auto lease = entry.batch.held.find(receipt);
    if (lease == entry.batch.held.end()) continue;  // settled meanwhile
    const Failure failure{"stale_receipt", "the lease was over: the message was handed out again or removed", false};
    lost.leases.push_back({entry.batch.queue, lease->second, receipt, failure});
    entry.batch.held.erase(lease);
  }
  if (entry.batch.held.empty()) batches_.erase(at);
  return lost;
}

LostLeases RenewalTable::on_failure(std::uint64_t id, const Failure& failure, TimeMs now) {
  const auto at = batches_.find(id);
  if (at == batches_.end()) return {};
  Entry& entry = at->second;
  if (!failure.retry || entry.ends <= now) return lose_all(id, failure);
  entry.under_way = false;
  entry.due = std::min(now + part_of(entry.batch.lease, 8), entry.ends);
  return {};
}

LostLeases RenewalTable::take_expired(TimeMs now) {
  for (const auto& [id, entry] : batches_) {
    if (!entry.under_way || now < entry.ends) continue;
    return lose_all(id, {"timeout", "the lease could not be renewed before its time was over", true});
  }
  return {};
}

LostLeases RenewalTable::lose_all(std::uint64_t id, const Failure& failure) {
  const auto at = batches_.find(id);
  const RenewalBatch& batch = at->second.batch;
  LostLeases lost{batch.on_lost, {}};
  for (const auto& [receipt, message] : batch.held) lost.leases.push_back({batch.queue, message, receipt, failure});
  batches_.erase(at);
  return lost;
}

std::optional<TimeMs> RenewalTable::next_deadline() const {
  std::optional<TimeMs> next;
  for (const auto& [id, entry] : batches_) {
    const TimeMs at = entry.under_way ? entry.ends : entry.due;
    next = next ? std::min(*next, at) : at;
  }
  return next;
}

}  // namespace dmq
