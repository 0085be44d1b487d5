// Words of the wire for values of an enum that counts from 0: an array in the order of the enum.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

namespace dmq {

template <class Enum, std::size_t kCount>
std::string_view name_of(const std::array<std::string_view, kCount>& names, Enum value) {
  return names[static_cast<std::size_t>(value)];
}

// The value that is so called; empty: none is.
template <class Enum, std::size_t kCount>
std::optional<Enum> value_named(const std::array<std::string_view, kCount>& names, std::string_view name) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  return static_cast<Enum>(found - names.begin());
}

}  // namespace dmq
