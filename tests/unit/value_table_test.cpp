// Tables for people: columns stand under each other whatever the names are written in.
#include "clients/cli/value_table.hpp"

#include <catch2/catch.hpp>

namespace dmq::cli {
namespace {

Value queue(const std::string& name) { return Value(Value::Map{{"name", Value(name)}, {"id", Value("7")}}); }

}  // namespace

TEST_CASE("columns of a table are as wide as what stands in them", "[client][cli]") {
  CHECK(table_text({queue("a"), queue("abcdef")}, false) ==
        "name    id  \n"
        "a       7   \n"
        "abcdef  7   \n");
  CHECK(table_text({}, false).empty());
}

TEST_CASE("wide characters, accents and faults count as a terminal shows them", "[client][cli]") {
  CHECK(table_text({queue("abcdef"), queue("日本語"), queue("été"), queue("e\xcc\x81")}, false) ==
        "name    id  \n"
        "abcdef  7   \n"
        "日本語  7   \n"
        "été     7   \n"
        "e\xcc\x81       7   \n");
  CHECK(fields_text(Value(Value::Map{{"名", Value("x")}, {"key", Value("y")}})) ==
        "名   x\n"
        "key  y\n");
}

}  // namespace dmq::cli
