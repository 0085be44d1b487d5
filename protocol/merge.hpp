// Payloads that are taken apart for several workers, and made one of what they answer.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dmq {

// The items of an encoded array, as they are; views into it. Empty: it is none.
std::optional<std::vector<std::string_view>> split_array(std::string_view payload);
std::string join_array(const std::vector<std::string>& items);
// An array without an item: messages were asked for and none came.
bool is_empty_array(std::string_view payload);

// One map of several of the same keys, as queue.describe, queue.stats and queue.purge give them: counts are added, of
// points in time the one that holds for all is taken, names are listed. What is no such map is passed over.
std::string merge_counts(const std::vector<std::string>& maps);

}  // namespace dmq
