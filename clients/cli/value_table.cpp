// See value_table.hpp.
#include "clients/cli/value_table.hpp"

#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <ctime>
#include <cwchar>
#include <iostream>

#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

// Times are shown as times; text without the quotes that JSON wants.
std::string cell_text(const std::string& key, const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value.data())) {
    std::string quoted = json_quoted(*text);
    return quoted.substr(1, quoted.size() - 2);
  }
  const auto* number = std::get_if<std::int64_t>(&value.data());
  if (number != nullptr && key == "created_ms") return time_text(*number);
  if (const auto* list = std::get_if<Value::List>(&value.data())) {
    std::string out;
    for (const Value& item : *list) out += (out.empty() ? "" : ", ") + cell_text(key, item);
    return out;
  }
  return to_json(value);
}

// What counts characters whatever the locale of the user: text is UTF-8 here, and only its form matters.
locale_t utf8() {
  static const locale_t kUtf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  return kUtf8;
}

// Columns on a terminal: two for the wide characters of East Asia, none for accents that join the letter before.
std::size_t width_of(const std::string& text) {
  if (utf8() == nullptr) return text.size();
  const locale_t before = uselocale(utf8());
  std::size_t width = 0;
  std::mbstate_t state{};
  for (std::size_t at = 0; at < text.size();) {
    wchar_t character = 0;
    const std::size_t bytes = std::mbrtowc(&character, text.data() + at, text.size() - at, &state);
    const bool known = bytes != 0 && bytes <= text.size() - at;
    width += known ? static_cast<std::size_t>(std::max(wcwidth(character), 0)) : 1;
    at += known ? bytes : 1;
    if (!known) state = {};
  }
  uselocale(before);
  return width;
}

std::string padded(const std::string& text, std::size_t width) {
  const std::size_t used = width_of(text);
  return text + std::string(width > used ? width - used : 0, ' ');
}

void add_fields(const Value& value, std::size_t indent, std::string& out) {
  const auto* map = std::get_if<Value::Map>(&value.data());
  if (map == nullptr) return;
  std::size_t width = 0;
  for (const auto& [key, member] : *map) width = std::max(width, width_of(key));
  for (const auto& [key, member] : *map) {
    const bool inner = std::holds_alternative<Value::Map>(member.data());
    out += std::string(indent, ' ') + (inner ? key : padded(key, width) + "  " + cell_text(key, member)) + "\n";
    if (inner) add_fields(member, indent + 2, out);
  }
}

}  // namespace

std::string time_text(std::int64_t ms) {
  const std::time_t seconds = ms / 1000;
  std::tm parts{};
  localtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%F %T", &parts)};
}

std::string fields_text(const Value& value) {
  std::string out;
  add_fields(value, 0, out);
  return out;
}

std::string table_text(const std::vector<Value>& rows, bool coloured) {
  std::vector<std::pair<std::string, std::size_t>> columns;  // key, width
  const auto each_cell = [&rows](auto&& visit) {
    for (const Value& row : rows) {
      const auto* map = std::get_if<Value::Map>(&row.data());
      if (map == nullptr) continue;
      for (const auto& [key, value] : *map) visit(key, cell_text(key, value));
    }
  };
  each_cell([&columns](const std::string& key, const std::string& text) {
    auto column = std::find_if(columns.begin(), columns.end(), [&key](const auto& each) { return each.first == key; });
    if (column == columns.end()) column = columns.insert(columns.end(), {key, width_of(key)});
    column->second = std::max(column->second, width_of(text));
  });
  std::string out;
  if (columns.empty()) return out;
  if (coloured) out += "\033[1m";
  for (const auto& [key, width] : columns) out += padded(key, width) + "  ";
  out += coloured ? "\033[0m\n" : "\n";
  for (const Value& row : rows) {
    for (const auto& [key, width] : columns) {
      const Value* value = row.find(key);
      out += padded(value == nullptr ? "" : cell_text(key, *value), width) + "  ";
    }
    out += "\n";
  }
  return out;
}

void print_fields(const Value& value, bool json) {
  std::cout << (json || !is_terminal(STDOUT_FILENO) ? to_json(value) + "\n" : fields_text(value));
}

void print_table(const std::vector<Value>& rows, bool json) {
  if (!json && is_terminal(STDOUT_FILENO)) {
    std::cout << table_text(rows, is_coloured(STDOUT_FILENO));
    return;
  }
  for (const Value& row : rows) std::cout << to_json(row) << "\n";
}

}  // namespace dmq::cli
