// Pages of a browse, and cursors: what a client reads is what the broker's writer would write again.
#include "protocol/browse.hpp"
#include "protocol/limits.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

void check_message(const Browsed& message, std::string_view input) {
  for (const std::string_view view : {message.id, message.state, message.body}) must_be_inside(view, input);
  must(message.attributes.headers.size() <= kMessageHeadersMax, "the number of headers is bounded");
  for (const auto& [name, value] : message.attributes.headers) {
    must_be_inside(name, input);
    must_be_inside(value, input);
  }
}

void must_be_same(const Browsed& after, const Browsed& before) {
  must(after.state == before.state && after.body == before.body, "state and body stay as they were");
  must(after.size == before.size && after.deliveries == before.deliveries, "size and count stay as they were");
  must(after.sent_ms == before.sent_ms && after.expires_ms == before.expires_ms, "times stay as they were");
  must(after.priority == before.priority, "the priority stays as it was");
  if (before.state == "delayed") must(after.ready_ms == before.ready_ms, "a delay stays as it was");
  if (before.state == "leased") must(after.lease_until_ms == before.lease_until_ms, "a lease's end stays as it was");
  must(pack_attributes(after.attributes) == pack_attributes(before.attributes), "the attributes stay as they were");
}

void check_cursor(std::string_view input) {
  const auto cursor = parse_cursor(input);
  if (!cursor) return;
  must(cursor->priority < kPriorities, "a priority is bounded");
  must(cursor_text(*cursor) == input, "a cursor has one text");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  check_cursor(input);
  MsgpackReader reader;
  const auto page = decode_browse(input, reader);
  if (!page) {
    must_be_readable(page.error());
    return 0;
  }
  must(page->messages.size() <= kBatchMessagesMax, "the number of messages is bounded");
  must_be_inside(page->after, input);
  BrowseWriter writer;
  std::vector<const Browsed*> written;
  for (const Browsed& message : page->messages) {
    check_message(message, input);
    const auto state = state_from_name(message.state);
    if (!state) continue;  // of a newer broker
    const TimeMs until = *state == MessageState::kDelayed ? message.ready_ms : message.lease_until_ms;
    const std::string attributes = pack_attributes(message.attributes);
    writer.add({{},
                {},
                *state,
                message.deliveries,
                message.sent_ms,
                message.priority,
                message.expires_ms,
                until,
                message.size,
                attributes},
               message.body);
    written.push_back(&message);
  }
  const std::string bytes = writer.finish(BrowseCursor{});
  MsgpackReader reader_again;
  const auto again = decode_browse(bytes, reader_again);
  must(again.has_value() && again->after == "0-0-0", "a written page can be decoded");
  must(again->messages.size() == written.size(), "no message is lost or made");
  for (std::size_t i = 0; i < written.size(); ++i) must_be_same(again->messages[i], *written[i]);
  return 0;
}
