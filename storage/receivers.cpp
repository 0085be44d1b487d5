// See receivers.hpp.
#include "storage/receivers.hpp"

#include <algorithm>

namespace dmq {

Receiver::Unsettled Receiver::unsettled(const Queue& queue) {
  Unsettled sum;
  std::erase_if(held, [&](const GivenLease& each) {
    const Lease* const lasting = queue.lease(each.lsn, each.id);
    if (lasting == nullptr) return true;
    ++sum.messages;
    sum.bytes += lasting->bytes;
    return false;
  });
  return sum;
}

bool Receiver::has_all(const Queue& queue) {
  if (!is_subscription()) return false;
  const Unsettled has = unsettled(queue);
  return has.messages >= max || has.bytes >= max_bytes;
}

void Receivers::add(const QueuePlace& queue, Receiver receiver) {
  const Ticket ticket = next_ticket_++;
  by_end_.emplace(receiver.until, queue, ticket);
  lines_[queue].emplace(ticket, std::move(receiver));
}

std::size_t Receivers::waiting(const QueuePlace& queue) const {
  const auto line = lines_.find(queue);
  return line == lines_.end() ? 0 : line->second.size();
}

Receivers::Line* Receivers::line(const QueuePlace& queue) {
  const auto line = lines_.find(queue);
  return line == lines_.end() ? nullptr : &line->second;
}

std::vector<QueuePlace> Receivers::queues_of(PartitionId partition) const {
  std::vector<QueuePlace> queues;
  for (auto at = lines_.lower_bound({partition, {}}); at != lines_.end() && at->first.partition == partition; ++at)
    queues.push_back(at->first);
  return queues;
}

std::optional<Receiver> Receivers::take(const QueuePlace& queue, const Which& which) {
  Line* const all = line(queue);
  if (all == nullptr) return std::nullopt;
  const auto found = std::find_if(all->begin(), all->end(), [&](const auto& each) { return which(each.second); });
  if (found == all->end()) return std::nullopt;
  Receiver taken = std::move(found->second);
  by_end_.erase({taken.until, queue, found->first});
  all->erase(found);
  drop_empty(queue);
  return taken;
}

std::vector<Receiver> Receivers::take_all(const QueuePlace& queue) {
  std::vector<Receiver> taken;
  Line* const all = line(queue);
  if (all == nullptr) return taken;
  for (auto& [ticket, receiver] : *all) {
    by_end_.erase({receiver.until, queue, ticket});
    taken.push_back(std::move(receiver));
  }
  lines_.erase(queue);
  return taken;
}

std::vector<Receiver> Receivers::take_all_of(PartitionId partition) {
  std::vector<Receiver> taken;
  for (const QueuePlace& queue : queues_of(partition)) {
    auto each = take_all(queue);
    std::move(each.begin(), each.end(), std::back_inserter(taken));
  }
  return taken;
}

std::vector<Receiver> Receivers::take_all() { return take_ended({INT64_MAX}); }

std::vector<Receiver> Receivers::take_ended(TimeMs now) {
  std::vector<Receiver> taken;
  while (!by_end_.empty() && std::get<TimeMs>(*by_end_.begin()) <= now) {
    const auto [until, queue, ticket] = *by_end_.begin();
    by_end_.erase(by_end_.begin());
    Line& all = lines_.at(queue);
    taken.push_back(std::move(all.extract(ticket).mapped()));
    drop_empty(queue);
  }
  return taken;
}

Receivers::Line::iterator Receivers::to_back(const QueuePlace& queue, Line::iterator at) {
  Line& all = lines_.at(queue);
  const auto next = std::next(at);
  const bool last = next == all.end();
  by_end_.erase({at->second.until, queue, at->first});
  auto node = all.extract(at);
  node.key() = next_ticket_++;
  by_end_.emplace(node.mapped().until, queue, node.key());
  const auto moved = all.insert(all.end(), std::move(node));
  return last ? moved : next;
}

Receivers::Line::iterator Receivers::remove(const QueuePlace& queue, Line::iterator at) {
  by_end_.erase({at->second.until, queue, at->first});
  return lines_.at(queue).erase(at);
}

void Receivers::drop_empty(const QueuePlace& queue) {
  const auto found = lines_.find(queue);
  if (found != lines_.end() && found->second.empty()) lines_.erase(found);
}

std::optional<TimeMs> Receivers::next_deadline() const {
  if (by_end_.empty()) return std::nullopt;
  return std::get<TimeMs>(*by_end_.begin());
}

}  // namespace dmq
