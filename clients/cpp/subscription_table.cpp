// See subscription_table.hpp.
#include "clients/cpp/subscription_table.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr DurationMs kAgainAfter{100};

}  // namespace

void SubscriptionTable::add(std::uint64_t id, Subscription subscription, TimeMs now) {
  all_.emplace(id, Entry{std::move(subscription), now});
}

std::optional<std::uint64_t> SubscriptionTable::next_due(TimeMs now) {
  for (auto& [id, each] : all_) {
    if (each.asked || each.left || now < each.due) continue;
    each.asked = true;
    return id;
  }
  return std::nullopt;
}

SubscriptionTable::Entry* SubscriptionTable::entry(std::uint64_t id) {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : &found->second;
}

Subscription* SubscriptionTable::find(std::uint64_t id) {
  Entry* const found = entry(id);
  return found == nullptr ? nullptr : &found->subscription;
}

std::optional<std::uint64_t> SubscriptionTable::find(std::string_view queue) const {
  for (const auto& [id, each] : all_) {
    if (!each.left && each.subscription.queue == queue) return id;
  }
  return std::nullopt;
}

void SubscriptionTable::on_answer(std::uint64_t id, TimeMs now) {
  Entry* const found = entry(id);
  if (found == nullptr || !found->asked) return;
  found->asked = false;
  found->due = now + DurationMs{kLasts.value / 3};
}

void SubscriptionTable::on_end(std::uint64_t id, TimeMs now) {
  Entry* const found = entry(id);
  if (found == nullptr) return;
  found->asked = false;
  found->due = now + kAgainAfter;
}

void SubscriptionTable::on_link_lost(TimeMs now) {
  for (auto& [id, each] : all_) each.due = now;
}

void SubscriptionTable::leave(std::uint64_t id) {
  if (Entry* const found = entry(id)) found->left = true;
}

bool SubscriptionTable::is_left(std::uint64_t id) const {
  const auto found = all_.find(id);
  return found != all_.end() && found->second.left;
}

std::optional<Subscription> SubscriptionTable::take(std::uint64_t id) {
  auto taken = all_.extract(id);
  if (taken.empty()) return std::nullopt;
  return std::move(taken.mapped().subscription);
}

std::optional<std::uint64_t> SubscriptionTable::any() const {
  for (const auto& [id, each] : all_) {
    if (!each.left) return id;
  }
  return std::nullopt;
}

std::optional<TimeMs> SubscriptionTable::next_deadline() const {
  std::optional<TimeMs> next;
  for (const auto& [id, each] : all_) {
    if (!each.asked && !each.left) next = next ? std::min(*next, each.due) : each.due;
  }
  return next;
}

}  // namespace dmq
