// See parts.hpp.
#include "protocol/parts.hpp"

#include <algorithm>

#include "protocol/partitioner.hpp"

namespace dmq {
namespace {

constexpr unsigned kTargetPartShift = 44;  // a queue's id stays below, and both together below 2^53

std::uint16_t key_parts(const QueueSettings& settings) { return std::max<std::uint16_t>(settings.key_partitions, 1); }

}  // namespace

PartitionId place_of_part(const QueueInfo& queue, std::uint16_t part, std::uint16_t partitions) {
  return {static_cast<std::uint16_t>((queue.partition.value + part) % partitions)};
}

std::optional<std::uint16_t> part_at(const QueueInfo& queue, PartitionId partition, std::uint16_t partitions) {
  if (partition.value >= partitions) return std::nullopt;
  const auto part = static_cast<std::uint16_t>((partition.value + partitions - queue.partition.value) % partitions);
  return part < queue.settings.partitions ? std::optional(part) : std::nullopt;
}

std::uint16_t part_of_key(OrderingKey key, const QueueSettings& settings) {
  return static_cast<std::uint16_t>(key.value % key_parts(settings));
}

OrderingKey ordering_key(std::string_view key) {
  return key.empty() ? OrderingKey{} : OrderingKey{std::max<std::uint64_t>(stable_hash(key), 1)};
}

std::uint16_t part_of_word(std::string_view word, const QueueSettings& settings) {
  return static_cast<std::uint16_t>(stable_hash(word) % key_parts(settings));
}

std::uint64_t share_of(std::uint64_t limit, const QueueSettings& settings) {
  return (limit + settings.partitions - 1) / settings.partitions;
}

QueueId move_target(QueueId queue, std::uint16_t part) {
  return {queue.value | (std::uint64_t{part} << kTargetPartShift)};
}

QueueId queue_of_target(QueueId target) { return {target.value & ((std::uint64_t{1} << kTargetPartShift) - 1)}; }

std::uint16_t part_of_target(QueueId target) { return static_cast<std::uint16_t>(target.value >> kTargetPartShift); }

}  // namespace dmq
