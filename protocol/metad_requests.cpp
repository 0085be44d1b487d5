// Codec of the requests to metad (docs/protocol.md, "Inside the broker"): {"id", "op", "body": {...}}.
#include "protocol/catalog_records.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {
namespace {

using Body = MetadRequestBody;

struct PackRequestBody {
  Packer& packer;

  void begin(std::string_view op, std::size_t keys) const {
    pack_text(packer, "op", op);
    packer.text("body");
    packer.map(keys);
  }
  void pack_bool(std::string_view key, bool value) const {
    packer.text(key);
    packer.boolean(value);
  }

  void operator()(const RegisterMember& member) const {
    begin("register", 9);
    pack_text(packer, "role", member.role == RegisterMember::Role::kWorker ? "worker" : "router");
    pack_text(packer, "name", member.name);
    pack_text(packer, "endpoint", member.endpoint);
    pack_text(packer, "sync", member.sync);
    pack_text(packer, "zone", member.zone);
    pack_text(packer, "log", member.log_endpoint);
    pack_text(packer, "peer", member.peer_endpoint);
    pack_text(packer, "store", member.store_id);
    pack_bool("clean", member.clean);
  }
  void operator()(const MemberHeartbeat& heartbeat) const {
    begin("heartbeat", 1);
    pack_number(packer, "session", heartbeat.session.value);
  }
  void operator()(const GetSnapshot&) const { begin("snapshot", 0); }
  void operator()(const CreateQueue& create) const {
    begin("create", 3);
    pack_text(packer, "name", create.name);
    packer.text("settings");
    pack_settings(packer, create.settings);
    pack_bool("only_if_absent", create.only_if_absent);
  }
  void operator()(const UpdateQueue& update) const {
    begin("update", 3);
    pack_text(packer, "name", update.name);
    pack_number(packer, "version", update.version);
    packer.text("settings");
    pack_settings(packer, update.settings);
  }
  void operator()(const DeleteQueue& remove) const {
    begin("delete", 1);
    pack_text(packer, "name", remove.name);
  }
  void operator()(const AlterInSync& alter) const {
    begin("alter_in_sync", 5);
    pack_number(packer, "session", alter.session.value);
    pack_number(packer, "partition", alter.partition.value);
    pack_number(packer, "epoch", alter.epoch.value);
    pack_number(packer, "version", alter.version.value);
    packer.text("in_sync");
    packer.array(alter.in_sync.size());
    for (const InSyncMember& member : alter.in_sync) {
      packer.map(2);
      pack_text(packer, "name", member.name);
      pack_number(packer, "session", member.session.value);
    }
  }
  void operator()(const ResignLeader& resign) const {
    begin("resign", 3);
    pack_number(packer, "session", resign.session.value);
    pack_number(packer, "partition", resign.partition.value);
    pack_number(packer, "epoch", resign.epoch.value);
  }
  void operator()(const ReportUnclean& report) const {
    begin("unclean", 4);
    pack_number(packer, "session", report.session.value);
    pack_number(packer, "partition", report.partition.value);
    packer.text("repaired");
    packer.boolean(report.repaired);
    pack_number(packer, "version", report.version.value);
  }
  void operator()(const SetCluster& set) const {
    begin("set_cluster", 2);
    pack_number(packer, "replication_factor", set.replication_factor);
    pack_number(packer, "min_in_sync", set.min_in_sync);
  }
  void operator()(const DrainWorker& drain) const {
    begin("drain_worker", 2);
    pack_text(packer, "name", drain.name);
    pack_bool("on", drain.on);
  }
  void operator()(const FenceWorker& fence) const {
    begin("fence_worker", 2);
    pack_text(packer, "name", fence.name);
    pack_bool("on", fence.on);
  }
  void operator()(const MovePartition& move) const {
    begin("move_partition", 2);
    pack_number(packer, "partition", move.partition.value);
    pack_names(packer, "replicas", move.replicas);
  }
  void operator()(const ForceLeader& force) const {
    begin("force_leader", 3);
    pack_number(packer, "partition", force.partition.value);
    pack_text(packer, "worker", force.worker);
    pack_bool("accept_loss", force.accept_loss);
  }
  void operator()(const ForgetWorker& forget) const {
    begin("forget_worker", 1);
    pack_text(packer, "name", forget.name);
  }
};

Result<Body> read_register(const msgpack::object& object) {
  RegisterMember member;
  std::string role = "router";
  MapFields fields(object, "register");
  fields.text("role", kWordBytesMax, role);
  fields.text("name", kMemberNameBytesMax, member.name);
  fields.text("endpoint", kEndpointBytesMax, member.endpoint);
  fields.text("sync", kWordBytesMax, member.sync);
  fields.text("zone", kMemberNameBytesMax, member.zone);
  fields.text("log", kEndpointBytesMax, member.log_endpoint);
  fields.text("peer", kEndpointBytesMax, member.peer_endpoint);
  fields.text("store", kWordBytesMax, member.store_id);
  fields.boolean("clean", member.clean);
  fields.require(role == "worker" || role == "router", "role worker or router");
  if (role == "worker") member.role = RegisterMember::Role::kWorker;
  return finish<Body>(fields, std::move(member));
}

Result<Body> read_heartbeat(const msgpack::object& object) {
  MemberHeartbeat heartbeat;
  MapFields fields(object, "heartbeat");
  fields.number("session", heartbeat.session.value);
  return finish<Body>(fields, heartbeat);
}

Result<Body> read_get_snapshot(const msgpack::object&) { return Body(GetSnapshot{}); }

// A queue name of any length and content is read: whether it is a good one is metad's to say, with a clear error.
Result<Body> read_create(const msgpack::object& object) {
  CreateQueue create;
  MapFields fields(object, "create");
  fields.text("name", kErrorContextBytesMax, create.name);
  fields.boolean("only_if_absent", create.only_if_absent);
  if (const msgpack::object* settings = fields.map("settings")) {
    auto read = read_settings(*settings);
    if (!read) return tl::unexpected<Error>(read.error());
    create.settings = *read;
  }
  return finish<Body>(fields, std::move(create));
}

Result<Body> read_update(const msgpack::object& object) {
  UpdateQueue update;
  MapFields fields(object, "update");
  fields.text("name", kErrorContextBytesMax, update.name);
  fields.number("version", update.version);
  const msgpack::object* settings = fields.map("settings");
  fields.require(settings != nullptr, "settings");
  if (settings != nullptr) {
    auto read = read_settings(*settings);
    if (!read) return tl::unexpected<Error>(read.error());
    update.settings = *read;
  }
  return finish<Body>(fields, std::move(update));
}

Result<Body> read_delete(const msgpack::object& object) {
  DeleteQueue remove;
  MapFields fields(object, "delete");
  fields.text("name", kErrorContextBytesMax, remove.name);
  return finish<Body>(fields, std::move(remove));
}

Result<InSyncMember> read_in_sync_member(const msgpack::object& object) {
  InSyncMember member;
  MapFields fields(object, "in_sync");
  fields.text("name", kMemberNameBytesMax, member.name);
  fields.number("session", member.session.value);
  fields.require(!member.name.empty(), "name");
  return finish<InSyncMember>(fields, std::move(member));
}

Result<Body> read_alter(const msgpack::object& object) {
  AlterInSync alter;
  MapFields fields(object, "alter_in_sync");
  fields.number("session", alter.session.value);
  fields.number("partition", alter.partition.value);
  fields.number("epoch", alter.epoch.value);
  fields.number("version", alter.version.value);
  const msgpack::object* members = fields.array("in_sync");
  fields.require(members != nullptr && members->via.array.size <= kReplicasMax, "in_sync, of at most 14 members,");
  if (!fields.result()) return tl::unexpected<Error>(fields.result().error());
  for (std::uint32_t i = 0; i < members->via.array.size; ++i) {
    auto member = read_in_sync_member(members->via.array.ptr[i]);
    if (!member) return tl::unexpected<Error>(member.error());
    alter.in_sync.push_back(std::move(*member));
  }
  return Body(std::move(alter));
}

Result<Body> read_resign(const msgpack::object& object) {
  ResignLeader resign;
  MapFields fields(object, "resign");
  fields.number("session", resign.session.value);
  fields.number("partition", resign.partition.value);
  fields.number("epoch", resign.epoch.value);
  return finish<Body>(fields, resign);
}

Result<Body> read_unclean(const msgpack::object& object) {
  ReportUnclean report;
  MapFields fields(object, "unclean");
  fields.number("session", report.session.value);
  fields.number("partition", report.partition.value);
  fields.boolean("repaired", report.repaired);
  fields.number("version", report.version.value);
  return finish<Body>(fields, report);
}

Result<Body> read_set_cluster(const msgpack::object& object) {
  SetCluster set;
  MapFields fields(object, "set_cluster");
  fields.number("replication_factor", set.replication_factor);
  fields.number("min_in_sync", set.min_in_sync);
  return finish<Body>(fields, set);
}

template <class Request>
Result<Body> read_switch(const msgpack::object& object) {
  Request request;
  MapFields fields(object, "request");
  fields.text("name", kMemberNameBytesMax, request.name);
  fields.boolean("on", request.on);
  return finish<Body>(fields, std::move(request));
}

Result<Body> read_move(const msgpack::object& object) {
  MovePartition move;
  MapFields fields(object, "move_partition");
  fields.number("partition", move.partition.value);
  fields.names("replicas", move.replicas);
  return finish<Body>(fields, std::move(move));
}

Result<Body> read_force(const msgpack::object& object) {
  ForceLeader force;
  MapFields fields(object, "force_leader");
  fields.number("partition", force.partition.value);
  fields.text("worker", kMemberNameBytesMax, force.worker);
  fields.boolean("accept_loss", force.accept_loss);
  return finish<Body>(fields, std::move(force));
}

Result<Body> read_forget(const msgpack::object& object) {
  ForgetWorker forget;
  MapFields fields(object, "forget_worker");
  fields.text("name", kMemberNameBytesMax, forget.name);
  return finish<Body>(fields, std::move(forget));
}

struct Op {
  std::string_view name;
  Result<Body> (*read)(const msgpack::object&);
};
constexpr Op kOps[] = {{"register", read_register},
                       {"heartbeat", read_heartbeat},
                       {"snapshot", read_get_snapshot},
                       {"create", read_create},
                       {"update", read_update},
                       {"delete", read_delete},
                       {"alter_in_sync", read_alter},
                       {"resign", read_resign},
                       {"unclean", read_unclean},
                       {"set_cluster", read_set_cluster},
                       {"drain_worker", read_switch<DrainWorker>},
                       {"fence_worker", read_switch<FenceWorker>},
                       {"move_partition", read_move},
                       {"force_leader", read_force},
                       {"forget_worker", read_forget}};

Result<Body> read_request_body(std::string_view name, const msgpack::object& object) {
  for (const Op& op : kOps) {
    if (op.name == name) return op.read(object);
  }
  return fail(Errc::kUnknownOp, "metad has no operation '" + std::string(repeatable(name)) + "'");
}

}  // namespace

std::string encode_metad_request(const MetadRequest& request) {
  std::string out;
  Packer packer(out);
  packer.map(3);
  pack_number(packer, "id", request.id);
  std::visit(PackRequestBody{packer}, request.body);
  return out;
}

Result<MetadRequest> decode_metad_request(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object) return tl::unexpected<Error>(object.error());
  const auto frame = read_metad_frame(*object, "op");
  if (!frame) return tl::unexpected<Error>(frame.error());
  auto body = read_request_body(frame->name, *frame->body);
  if (!body) return tl::unexpected<Error>(body.error());
  return MetadRequest{frame->id, std::move(*body)};
}

std::optional<std::uint64_t> metad_request_id(std::string_view bytes, MsgpackReader& reader) {
  const auto object = read_catalog_value(bytes, reader);
  if (!object || !check_map(*object)) return std::nullopt;
  const msgpack::object* id = find_key(*object, "id");
  return id == nullptr ? std::nullopt : as_number(*id);
}

}  // namespace dmq
