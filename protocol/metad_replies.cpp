// Codec of metad's replies (docs/protocol.md, "Inside the broker"): {"id", "kind", "body": {...}}.
#include "protocol/catalog_records.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

using Body = MetadReplyBody;

struct PackReplyBody {
  Packer& packer;

  void begin(std::string_view kind) const {
    pack_text(packer, "kind", kind);
    packer.text("body");
  }

  void operator()(const Error& error) const {
    begin("error");
    packer.map(2);
    pack_text(packer, "code", code_name(error.code));
    pack_text(packer, "message", std::string_view(error.context).substr(0, kErrorContextBytesMax));
  }
  void operator()(const Registered& registered) const {
    begin("registered");
    packer.map(6);
    pack_number(packer, "session", registered.session.value);
    pack_text(packer, "feed", registered.feed_endpoint);
    pack_number(packer, "heartbeat_ms", registered.heartbeat_ms);
    pack_number(packer, "missed_heartbeats", registered.missed_heartbeats);
    pack_number(packer, "generation", registered.generation);
    pack_number(packer, "floor", registered.floor.value);
  }
  void operator()(const Done&) const {
    begin("done");
    packer.map(0);
  }
  void operator()(const CatalogSnapshot& snapshot) const {
    begin("snapshot");
    pack_snapshot(packer, snapshot);
  }
  void operator()(const QueueInfo& queue) const {
    begin("queue");
    pack_queue(packer, queue);
  }
  void operator()(const QueueDeleted& deleted) const {
    begin("queue_deleted");
    pack_deleted(packer, deleted);
  }
  void operator()(const PartitionInfo& partition) const {
    begin("partition");
    pack_partition(packer, partition);
  }
  void operator()(const ClusterInfo& cluster) const {
    begin("cluster");
    pack_cluster(packer, cluster);
  }
  void operator()(const WorkerLoad& load) const {
    begin("worker_load");
    packer.map(2);
    pack_number(packer, "leads", load.leads);
    pack_number(packer, "holds", load.holds);
  }
  void operator()(const WorkerForgotten& forgotten) const {
    begin("worker_forgotten");
    pack_forgotten(packer, forgotten);
  }
};

Result<Body> read_error(const msgpack::object& object) {
  Error error;
  std::string code;
  MapFields fields(object, "error");
  fields.text("code", kWordBytesMax, code);
  fields.text("message", kErrorContextBytesMax, error.context);
  error.code = code_from_name(code).value_or(Errc::kInternal);
  return finish<Body>(fields, std::move(error));
}

Result<Body> read_registered(const msgpack::object& object) {
  Registered registered;
  MapFields fields(object, "registered");
  fields.number("session", registered.session.value);
  fields.text("feed", kEndpointBytesMax, registered.feed_endpoint);
  fields.number("heartbeat_ms", registered.heartbeat_ms);
  fields.number("missed_heartbeats", registered.missed_heartbeats);
  fields.number("generation", registered.generation);
  fields.number("floor", registered.floor.value);
  fields.require(registered.session.value != 0, "session");
  return finish<Body>(fields, std::move(registered));
}

Result<Body> read_load(const msgpack::object& object) {
  WorkerLoad load;
  MapFields fields(object, "worker_load");
  fields.number("leads", load.leads);
  fields.number("holds", load.holds);
  return finish<Body>(fields, load);
}

template <class Record>
Result<Body> as_body(Result<Record> record) {
  if (!record) return tl::unexpected<Error>(record.error());
  return Body(std::move(*record));
}

Result<Body> read_reply_body(std::string_view kind, const msgpack::object& object) {
  if (kind == "error") return read_error(object);
  if (kind == "registered") return read_registered(object);
  if (kind == "done") return Body(Done{});
  if (kind == "snapshot") return as_body(read_snapshot(object));
  if (kind == "queue") return as_body(read_queue(object));
  if (kind == "queue_deleted") return as_body(read_deleted(object));
  if (kind == "partition") return as_body(read_partition(object));
  if (kind == "cluster") return as_body(read_cluster(object));
  if (kind == "worker_load") return read_load(object);
  if (kind == "worker_forgotten") return as_body(read_forgotten(object));
  return fail(Errc::kMalformed, "metad answered with the unknown kind '" + std::string(repeatable(kind)) + "'");
}

}  // namespace

std::string encode_metad_reply(const MetadReply& reply) {
  std::string out;
  Packer packer(out);
  packer.map(3);
  pack_number(packer, "id", reply.id);
  std::visit(PackReplyBody{packer}, reply.body);
  return out;
}

Result<MetadReply> decode_metad_reply(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  const auto frame = read_metad_frame(*object, "kind");
  if (!frame) return tl::unexpected<Error>(frame.error());
  auto body = read_reply_body(frame->name, *frame->body);
  if (!body) return tl::unexpected<Error>(body.error());
  return MetadReply{frame->id, std::move(*body)};
}

}  // namespace dmq
