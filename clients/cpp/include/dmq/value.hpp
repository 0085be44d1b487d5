// A self-describing value, for replies whose keys a newer broker may extend.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace dmq {

// Null, bool, integer, float, text, list, or map in the order that the broker gave.
class Value {
 public:
  using List = std::vector<Value>;
  using Map = std::vector<std::pair<std::string, Value>>;
  using Data = std::variant<std::monostate, bool, std::int64_t, double, std::string, List, Map>;

  Value() = default;
  explicit Value(Data data) : data_(std::move(data)) {}

  const Data& data() const { return data_; }
  // The member `key` of a map, or null when there is none or this is no map.
  const Value* find(std::string_view key) const;
  // The member as text or number; `otherwise` when it is absent or of another kind.
  std::string text(std::string_view key, std::string otherwise = {}) const;
  std::int64_t number(std::string_view key, std::int64_t otherwise = 0) const;

 private:
  Data data_;
};

// One line of JSON. Text that is not valid UTF-8 is not checked: the protocol has none.
std::string to_json(const Value& value);
// `text` in quotes with what JSON wants escaped; bytes from 0x80 pass unchanged.
std::string json_quoted(std::string_view text);

}  // namespace dmq
