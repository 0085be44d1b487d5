// Hashing of names to partitions with xxh3.
#include "protocol/partitioner.hpp"

#include <xxhash.h>

namespace dmq {

std::string_view hash_tag(std::string_view queue_name) {
  const auto open = queue_name.find('{');
  if (open == std::string_view::npos) return queue_name;
  const auto close = queue_name.find('}', open + 1);
  if (close == std::string_view::npos || close == open + 1) return queue_name;
  return queue_name.substr(open + 1, close - open - 1);
}

std::uint64_t stable_hash(std::string_view text, std::uint64_t seed) {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

PartitionId partition_of(std::string_view queue_name, std::uint16_t partitions) {
  return {static_cast<std::uint16_t>(stable_hash(hash_tag(queue_name)) % partitions)};
}

}  // namespace dmq
