// A queue that is spread over several partitions: which of its parts lies where, and to which one a message belongs.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "protocol/catalog.hpp"
#include "protocol/ids.hpp"

namespace dmq {

// Part 0 lies in the queue's own partition, the others in those behind it, of as many as the cluster has.
PartitionId place_of_part(const QueueInfo& queue, std::uint16_t part, std::uint16_t partitions);
// Empty: no part of the queue lies there.
std::optional<std::uint16_t> part_at(const QueueInfo& queue, PartitionId partition, std::uint16_t partitions);

// Messages with one ordering key are in one part, whatever the queue has grown to since it was created.
std::uint16_t part_of_key(OrderingKey key, const QueueSettings& settings);
OrderingKey ordering_key(std::string_view key);  // 0: there is none
// Likewise for what is to be in one part by a word: a dedup id, a producer.
std::uint16_t part_of_word(std::string_view word, const QueueSettings& settings);

// How much of a limit of the whole queue each part has; 0: no limit.
std::uint64_t share_of(std::uint64_t limit, const QueueSettings& settings);

// Where a message that moves is to go, as one number: a queue, and one of its parts. For part 0 it is the queue's id.
QueueId move_target(QueueId queue, std::uint16_t part);
QueueId queue_of_target(QueueId target);
std::uint16_t part_of_target(QueueId target);

}  // namespace dmq
