// Codecs of the requests to metad and of its replies (docs/protocol.md, "Inside the broker").
//
// A request is {"id", "op", "body": {...}}, a reply {"id", "kind", "body": {...}}.
#include "protocol/catalog_records.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

constexpr std::size_t kWordBytesMax = 64;  // an op, a kind, a role

void pack_text(Packer& packer, std::string_view key, std::string_view value) {
  packer.text(key);
  packer.text(value);
}

struct PackRequestBody {
  Packer& packer;
  void operator()(const RegisterMember& member) const {
    pack_text(packer, "op", "register");
    packer.text("body");
    packer.map(4);
    pack_text(packer, "role", member.role == RegisterMember::Role::kWorker ? "worker" : "router");
    pack_text(packer, "name", member.name);
    pack_text(packer, "endpoint", member.endpoint);
    pack_text(packer, "sync", member.sync);
  }
  void operator()(const MemberHeartbeat& heartbeat) const {
    pack_text(packer, "op", "heartbeat");
    packer.text("body");
    packer.map(1);
    packer.text("session");
    packer.number(heartbeat.session.value);
  }
  void operator()(const GetSnapshot&) const {
    pack_text(packer, "op", "snapshot");
    packer.text("body");
    packer.map(0);
  }
  void operator()(const CreateQueue& create) const {
    pack_text(packer, "op", "create");
    packer.text("body");
    packer.map(3);
    pack_text(packer, "name", create.name);
    packer.text("settings");
    pack_settings(packer, create.settings);
    packer.text("only_if_absent");
    packer.boolean(create.only_if_absent);
  }
  void operator()(const DeleteQueue& remove) const {
    pack_text(packer, "op", "delete");
    packer.text("body");
    packer.map(1);
    pack_text(packer, "name", remove.name);
  }
};

template <class Body, class Record>
Result<Body> finish(const MapFields& fields, Record record) {
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  return Body(std::move(record));
}

Result<MetadRequestBody> read_register(const msgpack::object& object) {
  RegisterMember member;
  std::string role = "router";
  MapFields fields(object, "register");
  fields.text("role", kWordBytesMax, role);
  fields.text("name", kMemberNameBytesMax, member.name);
  fields.text("endpoint", kEndpointBytesMax, member.endpoint);
  fields.text("sync", kWordBytesMax, member.sync);
  fields.require(role == "worker" || role == "router", "role worker or router");
  if (role == "worker") member.role = RegisterMember::Role::kWorker;
  return finish<MetadRequestBody>(fields, std::move(member));
}

// A queue name of any length and content is read: whether it is a good one is metad's to say, with a clear error.
Result<MetadRequestBody> read_create(const msgpack::object& object) {
  CreateQueue create;
  MapFields fields(object, "create");
  fields.text("name", kErrorContextBytesMax, create.name);
  fields.boolean("only_if_absent", create.only_if_absent);
  if (const msgpack::object* settings = fields.map("settings")) {
    auto read = read_settings(*settings);
    if (!read) return tl::unexpected<Error>(read.error());
    create.settings = *read;
  }
  return finish<MetadRequestBody>(fields, std::move(create));
}

Result<MetadRequestBody> read_request_body(std::string_view op, const msgpack::object& object) {
  if (op == "register") return read_register(object);
  if (op == "heartbeat") {
    MemberHeartbeat heartbeat;
    MapFields fields(object, "heartbeat");
    fields.number("session", heartbeat.session.value);
    return finish<MetadRequestBody>(fields, heartbeat);
  }
  if (op == "snapshot") return MetadRequestBody(GetSnapshot{});
  if (op == "create") return read_create(object);
  if (op == "delete") {
    DeleteQueue remove;
    MapFields fields(object, "delete");
    fields.text("name", kErrorContextBytesMax, remove.name);
    return finish<MetadRequestBody>(fields, std::move(remove));
  }
  return fail(Errc::kUnknownOp, "metad has no operation '" + std::string(repeatable(op)) + "'");
}

struct PackReplyBody {
  Packer& packer;
  void operator()(const Error& error) const {
    pack_text(packer, "kind", "error");
    packer.text("body");
    packer.map(2);
    pack_text(packer, "code", code_name(error.code));
    pack_text(packer, "message", std::string_view(error.context).substr(0, kErrorContextBytesMax));
  }
  void operator()(const Registered& registered) const {
    pack_text(packer, "kind", "registered");
    packer.text("body");
    packer.map(3);
    packer.text("session");
    packer.number(registered.session.value);
    pack_text(packer, "feed", registered.feed_endpoint);
    packer.text("heartbeat_ms");
    packer.number(registered.heartbeat_ms);
  }
  void operator()(const Done&) const {
    pack_text(packer, "kind", "done");
    packer.text("body");
    packer.map(0);
  }
  void operator()(const CatalogSnapshot& snapshot) const {
    pack_text(packer, "kind", "snapshot");
    packer.text("body");
    pack_snapshot(packer, snapshot);
  }
  void operator()(const QueueInfo& queue) const {
    pack_text(packer, "kind", "queue");
    packer.text("body");
    pack_queue(packer, queue);
  }
  void operator()(const QueueDeleted& deleted) const {
    pack_text(packer, "kind", "queue_deleted");
    packer.text("body");
    pack_deleted(packer, deleted);
  }
};

Result<MetadReplyBody> read_error(const msgpack::object& object) {
  Error error;
  std::string code;
  MapFields fields(object, "error");
  fields.text("code", kWordBytesMax, code);
  fields.text("message", kErrorContextBytesMax, error.context);
  error.code = code_from_name(code).value_or(Errc::kInternal);
  return finish<MetadReplyBody>(fields, std::move(error));
}

Result<MetadReplyBody> read_registered(const msgpack::object& object) {
  Registered registered;
  MapFields fields(object, "registered");
  fields.number("session", registered.session.value);
  fields.text("feed", kEndpointBytesMax, registered.feed_endpoint);
  fields.number("heartbeat_ms", registered.heartbeat_ms);
  fields.require(registered.session.value != 0, "session");
  return finish<MetadReplyBody>(fields, std::move(registered));
}

template <class Record>
Result<MetadReplyBody> as_body(Result<Record> record) {
  if (!record) return tl::unexpected<Error>(record.error());
  return MetadReplyBody(std::move(*record));
}

Result<MetadReplyBody> read_reply_body(std::string_view kind, const msgpack::object& object) {
  if (kind == "error") return read_error(object);
  if (kind == "registered") return read_registered(object);
  if (kind == "done") return MetadReplyBody(Done{});
  if (kind == "snapshot") return as_body(read_snapshot(object));
  if (kind == "queue") return as_body(read_queue(object));
  if (kind == "queue_deleted") return as_body(read_deleted(object));
  return fail(Errc::kMalformed, "metad answered with the unknown kind '" + std::string(repeatable(kind)) + "'");
}

// The frame that both directions share; `name_key` is op or kind. Points into the reader's object.
struct Outer {
  std::uint64_t id = 0;
  std::string name;
  const msgpack::object* body = nullptr;
};
Result<Outer> read_outer(const msgpack::object& object, std::string_view name_key) {
  Outer outer;
  MapFields fields(object, "metad message");
  fields.number("id", outer.id);
  fields.text(name_key, kWordBytesMax, outer.name);
  outer.body = fields.map("body");
  fields.require(!outer.name.empty(), name_key);
  fields.require(outer.body != nullptr, "body");
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  return outer;
}

}  // namespace

std::string encode_metad_request(const MetadRequest& request) {
  std::string out;
  Packer packer(out);
  packer.map(3);
  packer.text("id");
  packer.number(request.id);
  std::visit(PackRequestBody{packer}, request.body);
  return out;
}

Result<MetadRequest> decode_metad_request(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  const auto outer = read_outer(*object, "op");
  if (!outer) return tl::unexpected<Error>(outer.error());
  auto body = read_request_body(outer->name, *outer->body);
  if (!body) return tl::unexpected<Error>(body.error());
  return MetadRequest{outer->id, std::move(*body)};
}

std::string encode_metad_reply(const MetadReply& reply) {
  std::string out;
  Packer packer(out);
  packer.map(3);
  packer.text("id");
  packer.number(reply.id);
  std::visit(PackReplyBody{packer}, reply.body);
  return out;
}

Result<MetadReply> decode_metad_reply(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  const auto outer = read_outer(*object, "kind");
  if (!outer) return tl::unexpected<Error>(outer.error());
  auto body = read_reply_body(outer->name, *outer->body);
  if (!body) return tl::unexpected<Error>(body.error());
  return MetadReply{outer->id, std::move(*body)};
}

}  // namespace dmq
