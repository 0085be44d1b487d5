// Payloads that are taken apart for several workers and made one again: no item is lost, made or changed.
#include "protocol/limits.hpp"
#include "protocol/merge.hpp"
#include "tests/fuzz/property.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dmq;
  const std::string_view input = input_of(data, size);
  if (const auto items = split_array(input)) {
    must(items->size() <= kBatchMessagesMax, "the number of items is bounded");
    must(items->empty() == is_empty_array(input), "an array without an item is empty");
    for (const std::string_view item : *items) must_be_inside(item, input);
    const std::string joined = join_array({items->begin(), items->end()});
    const auto again = split_array(joined);
    must(again && *again == *items, "what is joined can be taken apart into the same items");
  }
  // Whatever a worker sends as a map of counts; a second time nothing more is made of it.
  const std::string text(input);
  const std::string once = merge_counts({text});
  MsgpackReader reader;
  must(reader.read(once, {.map_keys = 64, .string_bytes = 4096, .binary_bytes = 4096}).has_value(),
       "merged counts can be read");
  must(merge_counts({once}) == once, "what is merged stays as it is");
  merge_counts({text, once});
  return 0;
}
