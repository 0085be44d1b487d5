// Which partition a queue lives in: a hash of its name, or of the {tag} in it.
#pragma once

#include <string_view>

#include "protocol/ids.hpp"

namespace dmq {

// The part of the name that is hashed: what stands between the first '{' and the next '}', if not empty,
// so that "{order}.new" and "{order}.done" lie together; otherwise the whole name.
std::string_view hash_tag(std::string_view queue_name);

// xxh3_64(hash_tag) mod partitions (architecture, "The way of a message"). REQUIRES: partitions > 0.
PartitionId partition_of(std::string_view queue_name, std::uint16_t partitions);

// xxh3_64 of a text: the one hash for placement. Stable for all time, it decides where data lies.
std::uint64_t stable_hash(std::string_view text, std::uint64_t seed = 0);

}  // namespace dmq
