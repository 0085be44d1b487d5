// Values: from MessagePack, to JSON.
#include "dmq/value.hpp"

#include <charconv>
#include <cstdio>

#include "clients/cpp/value_codec.hpp"
#include "dmq/error.hpp"
#include "protocol/limits.hpp"

namespace dmq {
namespace {

constexpr ReadLimits kValueLimits{
    .array_items = kListPageMax, .map_keys = 1000, .string_bytes = kRequestBytesMax, .binary_bytes = kRequestBytesMax};

Value value_of(const msgpack::object& object) {
  switch (object.type) {
    case msgpack::type::BOOLEAN:
      return Value(Value::Data(object.via.boolean));
    case msgpack::type::POSITIVE_INTEGER:
      if (object.via.u64 >> 63 != 0) return Value(Value::Data(static_cast<double>(object.via.u64)));
      return Value(Value::Data(static_cast<std::int64_t>(object.via.u64)));
    case msgpack::type::NEGATIVE_INTEGER:
      return Value(Value::Data(object.via.i64));
    case msgpack::type::FLOAT32:
    case msgpack::type::FLOAT64:
      return Value(Value::Data(object.via.f64));
    case msgpack::type::STR:
    case msgpack::type::BIN:
      return Value(Value::Data(std::string(*as_bytes(object))));
    case msgpack::type::ARRAY: {
      Value::List list;
      for (std::uint32_t i = 0; i < object.via.array.size; ++i) list.push_back(value_of(object.via.array.ptr[i]));
      return Value(Value::Data(std::move(list)));
    }
    case msgpack::type::MAP: {
      Value::Map map;
      if (!check_map(object)) throw ClientError({"malformed", "the broker's reply has a map with odd keys", false});
      for (std::uint32_t i = 0; i < object.via.map.size; ++i) {
        const auto& pair = object.via.map.ptr[i];
        map.emplace_back(std::string(*as_text(pair.key)), value_of(pair.val));
      }
      return Value(Value::Data(std::move(map)));
    }
    default:
      return Value();
  }
}

struct JsonText {
  std::string operator()(std::monostate) const { return "null"; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const {
    char text[32];  // the shortest one that reads back as the same number
    return {text, std::to_chars(text, text + sizeof text, value).ptr};
  }
  std::string operator()(const std::string& value) const { return json_quoted(value); }
  std::string operator()(const Value::List& list) const {
    std::string out = "[";
    for (const Value& value : list) out += (out.size() > 1 ? "," : "") + to_json(value);
    return out + "]";
  }
  std::string operator()(const Value::Map& map) const {
    std::string out = "{";
    for (const auto& [key, value] : map) out += (out.size() > 1 ? "," : "") + json_quoted(key) + ":" + to_json(value);
    return out + "}";
  }
};

}  // namespace

const Value* Value::find(std::string_view key) const {
  const auto* map = std::get_if<Map>(&data_);
  if (map == nullptr) return nullptr;
  for (const auto& [name, value] : *map) {
    if (name == key) return &value;
  }
  return nullptr;
}

std::string Value::text(std::string_view key, std::string otherwise) const {
  const Value* value = find(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(&value->data());
  return text == nullptr ? std::move(otherwise) : *text;
}

std::int64_t Value::number(std::string_view key, std::int64_t otherwise) const {
  const Value* value = find(key);
  const auto* number = value == nullptr ? nullptr : std::get_if<std::int64_t>(&value->data());
  return number == nullptr ? otherwise : *number;
}

std::string to_json(const Value& value) { return std::visit(JsonText{}, value.data()); }

std::string json_quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

Value decode_value(std::string_view payload, MsgpackReader& reader) {
  const auto object = reader.read(payload, kValueLimits);
  if (!object) throw ClientError({"malformed", "the broker's reply cannot be read: " + object.error().context, false});
  return value_of(*object);
}

}  // namespace dmq
