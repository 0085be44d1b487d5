// Codec of what replicas say to each other: a MessagePack map with readable keys, and packed records beside it.
#include "protocol/replication.hpp"

#include <cstring>

#include "protocol/catalog_records.hpp"
#include "protocol/limits.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

void pack_epochs(Packer& packer, const std::vector<EpochStart>& epochs) {
  packer.text("epochs");
  packer.array(2 * epochs.size());
  for (const EpochStart& start : epochs) {
    packer.number(start.epoch.value);
    packer.number(start.first.value);
  }
}

void pack_producers(Packer& packer, const std::vector<SnapshotProducer>& producers) {
  packer.text("producers");
  packer.array(producers.size());
  for (const SnapshotProducer& producer : producers) {
    packer.map(5);
    pack_number(packer, "queue", producer.queue.value);
    packer.text("name");
    packer.text(producer.name);
    pack_number(packer, "last", producer.last.value);  // of a transfer it is wide
    pack_number(packer, "used_ms", static_cast<std::uint64_t>(producer.used_ms.value));
    pack_number(packer, "place", producer.place.value);
  }
}

struct PackBody {
  Packer& packer;
  void begin(std::string_view kind, std::size_t keys) const {
    packer.text("kind");
    packer.text(kind);
    packer.text("body");
    packer.map(keys);
  }
  void operator()(const AppendRecords& append) const {
    begin("append", 5);
    pack_number(packer, "first", append.first.value);
    pack_number(packer, "count", append.count);
    pack_number(packer, "prev_epoch", append.prev_epoch.value);
    pack_number(packer, "commit", append.commit.value);
    pack_number(packer, "trim", append.trim.value);
  }
  void operator()(const AckRecords& ack) const {
    begin("ack", 1);
    pack_number(packer, "end", ack.end.value);
  }
  void operator()(const FetchRecords& fetch) const {
    begin("fetch", 5);
    pack_number(packer, "nonce", fetch.nonce);
    pack_number(packer, "end", fetch.end.value);
    pack_number(packer, "last_epoch", fetch.last_epoch.value);
    pack_number(packer, "resume", fetch.resume.value);
    pack_number(packer, "whole", fetch.whole.value);
  }
  void operator()(const FetchedRecords& fetched) const {
    begin("fetched", 9);
    pack_number(packer, "nonce", fetched.nonce);
    pack_number(packer, "first", fetched.first.value);
    pack_number(packer, "end", fetched.end.value);
    pack_number(packer, "prev_epoch", fetched.prev_epoch.value);
    pack_number(packer, "commit", fetched.commit.value);
    pack_number(packer, "trim", fetched.trim.value);
    pack_number(packer, "leader_end", fetched.leader_end.value);
    pack_epochs(packer, fetched.epochs);
    pack_producers(packer, fetched.producers);
  }
  void operator()(const TruncateRecords& truncate) const {
    begin("truncate", 3);
    pack_number(packer, "nonce", truncate.nonce);
    pack_number(packer, "epoch", truncate.epoch.value);
    pack_number(packer, "end", truncate.end.value);
  }
  void operator()(const SnapshotRecords& part) const {
    begin("snapshot", 6);
    pack_number(packer, "nonce", part.nonce);
    pack_number(packer, "first", part.first.value);
    pack_number(packer, "end", part.end.value);
    pack_number(packer, "stamp", part.stamp.value);
    pack_epochs(packer, part.epochs);
    pack_producers(packer, part.producers);
  }
  void operator()(const RangeHash& range) const {
    begin("hash", 2);
    pack_number(packer, "at", range.at.value);
    pack_number(packer, "hash", range.hash);
  }
  void operator()(const RangeDiffers& range) const {
    begin("differs", 2);
    pack_number(packer, "first", range.first.value);
    pack_number(packer, "end", range.end.value);
  }
  void operator()(const TransferRecords& transfer) const {
    begin("transfer", 4);
    pack_number(packer, "source", transfer.source.value);
    pack_number(packer, "from", transfer.from.value);
    pack_text(packer, "from_name", transfer.from_name);
    pack_number(packer, "to", transfer.to.value);
  }
  void operator()(const TransferredRecords& transferred) const {
    begin("transferred", 3);
    pack_number(packer, "from", transferred.from.value);
    pack_number(packer, "to", transferred.to.value);
    pack_number(packer, "mark", transferred.mark);
  }
};

Result<std::vector<EpochStart>> read_epochs(const msgpack::object* array) {
  std::vector<EpochStart> starts;
  if (array == nullptr) return starts;
  const auto& items = array->via.array;
  if (items.size % 2 != 0) return fail(Errc::kMalformed, "`epochs` must be pairs");
  for (std::uint32_t i = 0; i < items.size; i += 2) {
    const auto epoch = as_number(items.ptr[i]);
    const auto first = as_number(items.ptr[i + 1]);
    const bool grows =
        starts.empty() || (epoch && first && *epoch > starts.back().epoch.value && *first > starts.back().first.value);
    if (!epoch || !first || *epoch > UINT32_MAX || !grows) return fail(Errc::kMalformed, "`epochs` must grow");
    starts.push_back({{static_cast<std::uint32_t>(*epoch)}, {*first}});
  }
  return starts;
}

Result<SnapshotProducer> read_producer(const msgpack::object& object) {
  SnapshotProducer producer;
  MapFields fields(object, "producer");
  fields.number("queue", producer.queue.value);
  fields.text("name", kProducerBytesMax, producer.name);
  fields.wide("last", producer.last.value);
  fields.number("used_ms", producer.used_ms.value);
  fields.number("place", producer.place.value);
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  return producer;
}

Result<std::vector<SnapshotProducer>> read_producers(const msgpack::object* array) {
  std::vector<SnapshotProducer> producers;
  for (std::uint32_t i = 0; array != nullptr && i < array->via.array.size; ++i) {
    auto producer = read_producer(array->via.array.ptr[i]);
    if (!producer) return tl::unexpected<Error>(producer.error());
    producers.push_back(std::move(*producer));
  }
  return producers;
}

Result<PeerBody> read_fetched(MapFields& fields) {
  FetchedRecords fetched;
  fields.number("nonce", fetched.nonce);
  fields.number("first", fetched.first.value);
  fields.number("end", fetched.end.value);
  fields.number("prev_epoch", fetched.prev_epoch.value);
  fields.number("commit", fetched.commit.value);
  fields.number("trim", fetched.trim.value);
  fields.number("leader_end", fetched.leader_end.value);
  auto epochs = read_epochs(fields.array("epochs"));
  if (!epochs) return tl::unexpected<Error>(epochs.error());
  fetched.epochs = std::move(*epochs);
  auto producers = read_producers(fields.array("producers"));
  if (!producers) return tl::unexpected<Error>(producers.error());
  fetched.producers = std::move(*producers);
  return fetched;
}

Result<PeerBody> read_snapshot_part(MapFields& fields) {
  SnapshotRecords part;
  fields.number("nonce", part.nonce);
  fields.number("first", part.first.value);
  fields.number("end", part.end.value);
  fields.number("stamp", part.stamp.value);
  auto epochs = read_epochs(fields.array("epochs"));
  if (!epochs) return tl::unexpected<Error>(epochs.error());
  part.epochs = std::move(*epochs);
  auto producers = read_producers(fields.array("producers"));
  if (!producers) return tl::unexpected<Error>(producers.error());
  part.producers = std::move(*producers);
  return part;
}

Result<PeerBody> read_body(std::string_view kind, MapFields& fields) {
  if (kind == "append") {
    AppendRecords append;
    fields.number("first", append.first.value);
    fields.number("count", append.count);
    fields.number("prev_epoch", append.prev_epoch.value);
    fields.number("commit", append.commit.value);
    fields.number("trim", append.trim.value);
    return append;
  }
  if (kind == "ack") {
    AckRecords ack;
    fields.number("end", ack.end.value);
    return ack;
  }
  if (kind == "fetch") {
    FetchRecords fetch;
    fields.number("nonce", fetch.nonce);
    fields.number("end", fetch.end.value);
    fields.number("last_epoch", fetch.last_epoch.value);
    fields.number("resume", fetch.resume.value);
    fields.number("whole", fetch.whole.value);
    return fetch;
  }
  if (kind == "truncate") {
    TruncateRecords truncate;
    fields.number("nonce", truncate.nonce);
    fields.number("epoch", truncate.epoch.value);
    fields.number("end", truncate.end.value);
    return truncate;
  }
  if (kind == "hash") {
    RangeHash range;
    fields.number("at", range.at.value);
    fields.number("hash", range.hash);
    return range;
  }
  if (kind == "differs") {
    RangeDiffers range;
    fields.number("first", range.first.value);
    fields.number("end", range.end.value);
    return range;
  }
  if (kind == "transfer") {
    TransferRecords transfer;
    fields.number("source", transfer.source.value);
    fields.number("from", transfer.from.value);
    fields.text("from_name", kQueueNameBytesMax, transfer.from_name);
    fields.number("to", transfer.to.value);
    return transfer;
  }
  if (kind == "transferred") {
    TransferredRecords transferred;
    fields.number("from", transferred.from.value);
    fields.number("to", transferred.to.value);
    fields.wide("mark", transferred.mark);
    return transferred;
  }
  if (kind == "fetched") return read_fetched(fields);
  if (kind == "snapshot") return read_snapshot_part(fields);
  return fail(Errc::kMalformed, "unknown kind of message between replicas");
}

void put_shipped_header(std::string& out, const ShippedRecord& record, std::size_t bytes) {
  const auto put = [&out](auto value) { out.append(reinterpret_cast<const char*>(&value), sizeof value); };
  put(record.lsn.value);
  put(static_cast<std::uint16_t>(record.state.size()));
  put(static_cast<std::uint32_t>(bytes));
  out.append(record.state);
}

}  // namespace

std::string encode_peer_message(const PeerMessage& message) {
  std::string out;
  Packer packer(out);
  packer.map(7);
  pack_number(packer, "cluster", message.cluster);
  pack_number(packer, "partition", message.partition.value);
  pack_number(packer, "epoch", message.epoch.value);
  packer.text("sender");
  packer.text(message.sender);
  pack_number(packer, "session", message.session.value);
  std::visit(PackBody{packer}, message.body);
  return out;
}

Result<PeerMessage> decode_peer_message(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  PeerMessage message;
  std::string kind;
  MapFields fields(*object, "message between replicas");
  fields.number("cluster", message.cluster);
  fields.number("partition", message.partition.value);
  fields.number("epoch", message.epoch.value);
  fields.text("sender", kMemberNameBytesMax, message.sender);
  fields.number("session", message.session.value);
  fields.text("kind", kWordBytesMax, kind);
  const msgpack::object* body = fields.map("body");
  fields.require(body != nullptr, "body");
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  MapFields inner(*body, kind);
  auto read = read_body(kind, inner);
  if (!read) return tl::unexpected<Error>(read.error());
  if (!inner.result()) return tl::unexpected<Error>(inner.result().error());
  message.body = std::move(*read);
  return message;
}

void ship_record(std::string& out, const ShippedRecord& record) {
  put_shipped_header(out, record, record.bytes.size());
  out.append(record.bytes);
}

std::size_t ship_record_space(std::string& out, Lsn lsn, std::size_t bytes) {
  put_shipped_header(out, {lsn, {}, {}}, bytes);
  const std::size_t at = out.size();
  out.resize(at + bytes);
  return at;
}

Result<ShippedRecord> take_shipped_record(std::string_view& bytes) {
  if (bytes.size() < kShippedRecordOverhead) return fail(Errc::kMalformed, "shipped records end too early");
  ShippedRecord record;
  std::uint16_t state = 0;
  std::uint32_t size = 0;
  const auto get = [&bytes](std::size_t at, auto& value) { std::memcpy(&value, bytes.data() + at, sizeof value); };
  get(0, record.lsn.value);
  get(8, state);
  get(10, size);
  bytes.remove_prefix(kShippedRecordOverhead);
  if (std::size_t{state} + size > bytes.size()) return fail(Errc::kMalformed, "shipped records end too early");
  record.state = bytes.substr(0, state);
  record.bytes = bytes.substr(state, size);
  bytes.remove_prefix(std::size_t{state} + size);
  return record;
}

}  // namespace dmq
