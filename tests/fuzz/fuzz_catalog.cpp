// The messages between metad and the rest: snapshots, updates, requests, replies; and the copy that takes them in.
#include "protocol/metad_messages.hpp"
#include "tests/fuzz/property.hpp"

namespace {

using namespace dmq;

void check_copy(std::string_view input) {
  MsgpackReader reader;
  CatalogCopy copy;
  if (auto snapshot = decode_snapshot(input, reader)) {
    const auto queues = snapshot->queues;
    copy.apply(std::move(*snapshot));
    for (const QueueInfo& queue : queues) {
      const QueueInfo* const found = copy.find_queue(queue.name);
      must(found != nullptr && found->name == queue.name, "a queue of the snapshot is found by its name");
    }
  }
  if (const auto update = decode_update(input, reader)) copy.apply(*update);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = input_of(data, size);
  check_codec(input, decode_snapshot, encode_snapshot);
  check_codec(input, decode_update, encode_update);
  check_codec(input, decode_metad_request, encode_metad_request);
  check_codec(input, decode_metad_reply, encode_metad_reply);
  check_copy(input);
  return 0;
}
