// See merge.hpp.
#include "protocol/merge.hpp"

#include <algorithm>
#include <array>
#include <msgpack.hpp>
#include <string>

#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/packing.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kMapLimits{.array_items = 64, .map_keys = 64, .string_bytes = 4096, .binary_bytes = 4096};
constexpr std::array<std::string_view, 12> kAdded{"ready", "leased",    "delayed", "dead",     "bytes",   "waiting",
                                                  "sent",  "delivered", "acked",   "returned", "expired", "removed"};
constexpr std::array<std::string_view, 2> kLeast{"oldest_ms", "since_ms"};
constexpr std::array<std::string_view, 2> kMost{"at_ms", "window_ms"};

template <class Names>
bool is_one_of(const Names& names, std::string_view key) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

std::uint64_t merge_numbers(std::string_view key, const std::vector<std::uint64_t>& numbers) {
  if (is_one_of(kLeast, key)) return *std::min_element(numbers.begin(), numbers.end());
  if (is_one_of(kMost, key)) return *std::max_element(numbers.begin(), numbers.end());
  if (!is_one_of(kAdded, key)) return numbers.front();
  std::uint64_t sum = 0;
  for (const std::uint64_t number : numbers) sum += number;
  return sum;
}

std::string list_names(const std::vector<std::string_view>& names) {
  std::vector<std::string_view> sorted(names);
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::string list;
  for (const std::string_view name : sorted) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

void merge_maps(const std::vector<const msgpack::object*>& maps, Packer& packer);

// The values that some of the maps have under one key.
void merge_values(std::string_view key, const std::vector<const msgpack::object*>& values, Packer& packer) {
  const msgpack::object& first = *values.front();
  std::vector<std::uint64_t> numbers;
  std::vector<std::string_view> names;
  for (const msgpack::object* value : values) {
    if (const auto number = as_number(*value)) numbers.push_back(*number);
    if (const auto name = as_text(*value)) names.push_back(*name);
  }
  if (first.type == msgpack::type::MAP) return merge_maps(values, packer);
  if (!numbers.empty()) return packer.number(merge_numbers(key, numbers));
  if (key == "worker" && !names.empty()) return packer.text(list_names(names));
  packer.object(first);
}

void merge_maps(const std::vector<const msgpack::object*>& maps, Packer& packer) {
  std::vector<std::pair<std::string_view, std::vector<const msgpack::object*>>> merged;
  for (const msgpack::object* map : maps) {
    if (map->type != msgpack::type::MAP) continue;
    for (std::uint32_t i = 0; i < map->via.map.size; ++i) {
      const auto& pair = map->via.map.ptr[i];
      const std::string_view key = as_text(pair.key).value_or("");
      auto at = std::find_if(merged.begin(), merged.end(), [key](const auto& each) { return each.first == key; });
      if (at == merged.end()) at = merged.insert(merged.end(), {key, {}});
      at->second.push_back(&pair.val);
    }
  }
  packer.map(merged.size());
  for (const auto& [key, values] : merged) {
    packer.text(key);
    merge_values(key, values, packer);
  }
}

// Removes the head of an array, and tells how many items follow; empty: it is none.
std::optional<std::uint32_t> take_array_head(std::string_view& bytes) {
  if (bytes.empty()) return std::nullopt;
  const auto first = static_cast<unsigned char>(bytes.front());
  const std::size_t length = first == 0xdc ? 2 : first == 0xdd ? 4 : 0;
  if (length == 0 && (first & 0xf0) != 0x90) return std::nullopt;
  if (bytes.size() < 1 + length) return std::nullopt;
  std::uint32_t count = length == 0 ? first & 0x0f : 0;
  for (std::size_t i = 0; i < length; ++i) count = count << 8 | static_cast<unsigned char>(bytes[1 + i]);
  bytes.remove_prefix(1 + length);
  return count;
}

}  // namespace

std::optional<std::vector<std::string_view>> split_array(std::string_view payload) {
  const auto count = take_array_head(payload);
  if (!count || *count > kBatchMessagesMax) return std::nullopt;
  std::vector<std::string_view> items;
  for (std::uint32_t i = 0; i < *count; ++i) {
    const auto bytes = first_value_bytes(payload);
    if (!bytes || *bytes == 0) return std::nullopt;
    items.push_back(payload.substr(0, *bytes));
    payload.remove_prefix(*bytes);
  }
  return payload.empty() ? std::optional(std::move(items)) : std::nullopt;
}

std::string join_array(const std::vector<std::string>& items) {
  std::string out;
  Packer packer(out);
  packer.array(items.size());
  for (const std::string& item : items) packer.raw(item);
  return out;
}

bool is_empty_array(std::string_view payload) {
  using namespace std::string_view_literals;
  return payload == "\x90"sv || payload == "\xdc\0\0"sv || payload == "\xdd\0\0\0\0"sv;
}

std::string merge_counts(const std::vector<std::string>& maps) {
  std::vector<MsgpackReader> readers(maps.size());  // what is read lives as long as its reader reads no more
  std::vector<msgpack::object> read;
  for (std::size_t i = 0; i < maps.size(); ++i) {
    if (const auto object = readers[i].read(maps[i], kMapLimits)) read.push_back(*object);
  }
  std::vector<const msgpack::object*> pointers;
  for (const msgpack::object& each : read) pointers.push_back(&each);
  std::string out;
  Packer packer(out);
  merge_maps(pointers, packer);
  return out;
}

}  // namespace dmq
