// Looking at a queue's messages without taking them.
#include "storage/queue.hpp"

namespace dmq {

std::optional<Queue::Look> Queue::look(Lsn lsn) const {
  if (const auto lease = leases_.find(lsn); lease != leases_.end())
    return Look{MessageState::kLeased, lease->second.deliveries, lease->second.deadline};
  const std::uint32_t so_often = deliveries(lsn);
  if (const auto dead = dead_.find(lsn); dead != dead_.end())
    return dead->second.settling ? std::nullopt : std::optional(Look{MessageState::kDead, so_often, {}});
  if (ready_.contains(lsn) || keys_->is_held(lsn)) return Look{MessageState::kReady, so_often, {}};
  if (const auto ready_at = delayed_->ready_at(lsn)) return Look{MessageState::kDelayed, so_often, ready_at};
  return std::nullopt;
}

std::optional<StatePage> Queue::page(MessageState state, BrowseOrder order, PagePlace after, std::size_t most) const {
  if (order == BrowseOrder::kNext) return ready_.next_page(after, most);
  PageBuilder builder(after.lsn, most);
  switch (state) {
    case MessageState::kReady:
      ready_.add_to(builder);
      keys_->add_held_to(builder);
      break;
    case MessageState::kDelayed:
      if (!delayed_->add_to(builder)) return std::nullopt;
      break;
    case MessageState::kLeased:
      if (leases_.size() > kPageLooksMax) return std::nullopt;
      for (const auto& [lsn, lease] : leases_) builder.add(lsn);
      break;
    case MessageState::kDead:
      add_dead(builder);
      break;
  }
  return builder.finish();
}

StatePage Queue::ready_and_dead(Lsn after, std::size_t most) const {
  PageBuilder builder(after, most);
  ready_.add_to(builder);
  keys_->add_held_to(builder);
  add_dead(builder);
  return builder.finish();
}

void Queue::add_dead(PageBuilder& page) const {
  page.add_sorted(
      dead_.upper_bound(page.after()), dead_.end(), [](const auto& each) { return each.first; },
      [](const auto& each) { return !each.second.settling; });
}

}  // namespace dmq
