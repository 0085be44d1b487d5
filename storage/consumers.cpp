// See consumers.hpp.
#include "storage/consumers.hpp"

#include <algorithm>

namespace dmq {

void Consumers::set_deadline(const Key& key, Consumer& consumer, TimeMs deadline) {
  by_deadline_.erase({consumer.deadline, key});
  consumer.deadline = deadline;
  by_deadline_.emplace(deadline, key);
}

Result<void> Consumers::heard(const QueuePlace& queue, std::string_view name, std::optional<DurationMs> silence,
                              TimeMs until) {
  const Key key{queue, std::string(name)};
  const auto known = known_.find(key);
  if (known == known_.end() && known_.size() >= kConsumersMax) {
    return fail(Errc::kUnavailable, "this worker knows " + std::to_string(kConsumersMax) +
                                        " consumers by their names, its limit; try again, or leave the name out");
  }
  Consumer& consumer = known_[key];
  if (silence) consumer.silence = silence;
  const TimeMs deadline = consumer.silence ? until + *consumer.silence : std::max(consumer.deadline, until);
  set_deadline(key, consumer, deadline);
  return {};
}

void Consumers::reached(const QueuePlace& queue, std::string_view name, TimeMs now) {
  const auto known = known_.find({queue, std::string(name)});
  if (known == known_.end() || !known->second.silence) return;
  set_deadline(known->first, known->second, std::max(known->second.deadline, now + *known->second.silence));
}

void Consumers::took(const QueuePlace& queue, std::string_view name, const std::vector<GivenLease>& leases, TimeMs now,
                     DurationMs lease, const Lasts& lasts) {
  const auto known = known_.find({queue, std::string(name)});
  if (known == known_.end()) return;
  Consumer& consumer = known->second;
  if (consumer.held.size() >= consumer.sweep_at) {
    std::erase_if(consumer.held, [&lasts](const GivenLease& each) { return !lasts(each); });
    consumer.sweep_at = std::max<std::size_t>(64, 2 * consumer.held.size());
  }
  consumer.held.insert(consumer.held.end(), leases.begin(), leases.end());
  set_deadline(known->first, consumer,
               consumer.silence ? now + *consumer.silence : std::max(consumer.deadline, now + lease));
}

std::size_t Consumers::holds(const QueuePlace& queue, std::string_view name, const Lasts& lasts) {
  const auto known = known_.find({queue, std::string(name)});
  if (known == known_.end()) return 0;
  std::vector<GivenLease>& held = known->second.held;
  std::erase_if(held, [&lasts](const GivenLease& lease) { return !lasts(lease); });
  return held.size();
}

std::vector<Consumers::Gone> Consumers::gone(TimeMs now) {
  std::vector<Gone> gone;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
    const auto consumer = known_.extract(by_deadline_.begin()->second);
    by_deadline_.erase(by_deadline_.begin());
    if (consumer.mapped().silence) gone.push_back({consumer.key().first, std::move(consumer.mapped().held)});
  }
  return gone;
}

std::optional<TimeMs> Consumers::next_deadline() const {
  if (by_deadline_.empty()) return std::nullopt;
  return by_deadline_.begin()->first;
}

}  // namespace dmq
