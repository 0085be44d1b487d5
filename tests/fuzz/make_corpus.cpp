// Writes the first seeds of the fuzzers' corpora: real frames, and the nasty ones that every decoder should meet.
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/browse.hpp"
#include "protocol/envelope.hpp"
#include "protocol/header.hpp"
#include "protocol/limits.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/packing.hpp"
#include "protocol/payload.hpp"
#include "protocol/queue_info.hpp"
#include "protocol/replication.hpp"
#include "storage/control.hpp"
#include "storage/record.hpp"

namespace {

using namespace dmq;
using namespace std::string_literals;
namespace fs = std::filesystem;

// One corpus: a directory named after its fuzz target.
class Corpus {
 public:
  Corpus(const fs::path& root, const std::string& target) : directory_(root / target) {
    fs::create_directories(directory_);
  }
  void add(const std::string& name, std::string_view bytes) {
    std::ofstream(directory_ / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  // A good frame, and what can go wrong on the way: cut short, more behind it.
  void add_frame(const std::string& name, const std::string& bytes) {
    add(name, bytes);
    add(name + "-cut", std::string_view(bytes).substr(0, bytes.size() - bytes.size() / 3 - 1));
    add(name + "-trailing", bytes + '\xc0');
  }

 private:
  fs::path directory_;
};

std::string packed(const std::function<void(Packer&)>& write) {
  std::string out;
  Packer packer(out);
  write(packer);
  return out;
}

void add_nasty(Corpus& corpus) {
  corpus.add("empty", "");
  corpus.add("nil", "\xc0");
  corpus.add("array-claims-4-billion", "\xdd\xff\xff\xff\xff\x01"s);
  corpus.add("map-claims-4-billion", "\xdf\xff\xff\xff\xff\xa1v\x01"s);
  corpus.add("str-claims-4-billion",
             "\xdb\xff\xff\xff\xff"
             "a"s);
  corpus.add("bin-claims-2-billion",
             "\xc6\x7f\xff\xff\xff"
             "a"s);
  corpus.add("nested-9-deep", std::string(9, '\x91') + '\xc0');
  corpus.add("nested-1000-deep", std::string(1000, '\x91') + '\xc0');
  corpus.add("map-in-map-in-map", "\x81\xa1v\x81\xa1v\x81\xa1v\x01");
  corpus.add("key-twice", "\x82\xa1v\x01\xa1v\x01");
  corpus.add("key-is-a-number", "\x81\x01\x01");
  corpus.add("key-is-bin", "\x81\xc4\x01v\x01");
  corpus.add("extension", "\x91\xd4\x01\x00"s);
  corpus.add("float", "\x91\xcb\x3f\xf0\0\0\0\0\0\0"s);
  corpus.add("negative", "\x91\xff");
  corpus.add("number-over-2-53", "\x91\xcf\x00\x20\x00\x00\x00\x00\x00\x01"s);
  corpus.add("number-2-64", "\x91\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
  corpus.add("never-used-byte", "\xc1");
}

void write_request_headers(const fs::path& root) {
  Corpus corpus(root, "fuzz_request_header");
  add_nasty(corpus);
  RequestHeader send{.op = Op::kSend, .id = RequestId{std::uint64_t{7}}, .queue = "orders"};
  corpus.add_frame("send", encode_request_header(send));
  send.producer = "till-3";
  send.sequence = Sequence{41};
  corpus.add_frame("send-with-producer", encode_request_header(send));
  corpus.add_frame("receive", encode_request_header({.op = Op::kReceive,
                                                     .id = RequestId{"a text"s},
                                                     .queue = "orders",
                                                     .max = 10,
                                                     .max_bytes = 65536,
                                                     .wait_ms = DurationMs{5000},
                                                     .lease_ms = DurationMs{30'000}}));
  corpus.add_frame("nack", encode_request_header({.op = Op::kNack, .queue = "{t}.x", .delay_ms = DurationMs{0}}));
  corpus.add_frame("extend", encode_request_header({.op = Op::kExtend, .queue = "q", .lease_ms = DurationMs{100}}));
  corpus.add_frame("subscribe", encode_request_header({.op = Op::kSubscribe,
                                                       .queue = "q",
                                                       .wait_ms = DurationMs{1000},
                                                       .subscription = "till-4",
                                                       .credit = 10,
                                                       .credit_bytes = 65536}));
  corpus.add_frame("list", encode_request_header({.op = Op::kQueueList, .max = 5, .prefix = "or", .after = "orange"}));
  corpus.add_frame("browse", encode_request_header({.op = Op::kBrowse,
                                                    .queue = "q",
                                                    .max = 7,
                                                    .max_bytes = 1000,
                                                    .after = "3-77-0",
                                                    .state = MessageState::kDelayed,
                                                    .body_bytes = 0}));
  corpus.add_frame("browse-next",
                   encode_request_header({.op = Op::kBrowse, .queue = "q", .order = BrowseOrder::kNext}));
  corpus.add("browse-next-of-leased",
             encode_request_header(
                 {.op = Op::kBrowse, .queue = "q", .state = MessageState::kLeased, .order = BrowseOrder::kNext}));
  for (const Op op : {Op::kHello, Op::kPing, Op::kAck, Op::kQueueCreate, Op::kQueueDescribe, Op::kQueueDelete,
                      Op::kQueuePurge, Op::kQueueStats}) {
    corpus.add(std::string(op_name(op)), encode_request_header({.op = op, .queue = "bestellungen-\xc3\xbc"}));
  }
  const auto with = [](std::string_view op, std::string_view queue) {
    return packed([&](Packer& packer) {
      packer.map(3);
      packer.text("v");
      packer.number(1);
      packer.text("op");
      packer.text(op);
      packer.text("queue");
      packer.text(queue);
    });
  };
  corpus.add("unknown-op", with("transmogrify", "q"));
  corpus.add("unknown-op-not-utf8", with("\xff\xfe\x80", "q"));
  corpus.add("unknown-op-cut-inside-a-character", with(std::string(39, 'a') + "\xc3\xbc", "q"));
  corpus.add("queue-overlong-utf8", with("send", "\xc0\xaf"));
  corpus.add("queue-with-control", with("send", "a\nb"));
  corpus.add("queue-201-bytes", with("send", std::string(201, 'q')));
  corpus.add("version-2", "\x82\xa1v\x02\xa2op\xa4ping");
}

void write_reply_headers(const fs::path& root) {
  Corpus corpus(root, "fuzz_reply_header");
  add_nasty(corpus);
  corpus.add_frame("ok", encode_ok_header(RequestId{std::uint64_t{1} << 53}));
  corpus.add_frame("error", encode_reply_header(RequestId{"id"s}, {Errc::kUnavailable, "metad is away"}));
  corpus.add_frame("error-without-words", encode_reply_header({}, {Errc::kNoSuchQueue, ""}));
  corpus.add("code-of-a-newer-broker",
             "\x83\xa1v\x01\xa4"
             "code\xa5tired\xa7message\xa3zzz");
  corpus.add("no-code", "\x81\xa1v\x01");
}

void write_payloads(const fs::path& root) {
  Corpus send(root, "fuzz_send_payload");
  add_nasty(send);
  SendWriter writer;
  writer.add("a body alone", "");
  writer.add("with headers", pack_attributes({.headers = {{"kind", "order"}, {"raw", std::string_view("\0\xff", 2)}}}));
  writer.add("", "");
  send.add_frame("three-messages", writer.finish());
  send.add("body-as-str",
           "\x91\x81\xa4"
           "body\xa2hi");
  send.add("no-body", "\x91\x81\xa4tail\xa2hi");
  send.add("reserved-key",
           "\x91\x82\xa8priority\x05\xa4"
           "body\xa2hi");
  send.add("header-twice",
           "\x91\x82\xa4"
           "body\xa2hi\xa7headers\x82\xa1"
           "a\xa1x\xa1"
           "a\xa1y");
  send.add("header-value-is-a-map",
           "\x91\x82\xa4"
           "body\xa2hi\xa7headers\x81\xa1"
           "a\x80");
  send.add("headers-are-a-number",
           "\x91\x82\xa4"
           "body\xa2hi\xa7headers\x07");
  send.add("no-message", "\x90");
  send.add("1001-messages", "\xdc\x03\xe9"s + std::string(1001, '\xa0'));

  Corpus receipts(root, "fuzz_receipts");
  add_nasty(receipts);
  const Receipt receipt{PartitionId{7}, Epoch{3}, Lsn{1234567890123}, LeaseNumber{42}};
  receipts.add_frame("two", encode_receipts(std::vector<std::string>{receipt_text(receipt), "0.0.0.0"}));
  receipts.add("text", receipt_text(receipt));
  receipts.add("text-longest", "65535.4294967295.18446744073709551615.4294967295");
  receipts.add("text-leading-zero", "07.3.9.1");
  receipts.add("text-too-large", "65536.3.9.1");
  receipts.add("none", "\x90");

  Corpus first_value(root, "fuzz_first_value");
  add_nasty(first_value);
  const std::string entry =
      "\x82\xa5queue\xa1q\xa4"
      "body\xc4\x02\x00\xff"s;
  first_value.add("entry", entry);
  first_value.add("two-entries", entry + entry);
  first_value.add("cut-entry", entry.substr(0, entry.size() - 1));

  Corpus results(root, "fuzz_results");
  add_nasty(results);
  ResultWriter result_writer(4);
  result_writer.id(PartitionId{63}, Lsn{99});
  result_writer.ok();
  result_writer.duplicate();
  result_writer.error({Errc::kStaleReceipt, ""});
  results.add_frame("four", result_writer.finish());
  results.add("unknown-code",
              "\x91\x81\xa4"
              "code\xa5tired");
  results.add("no-code", "\x91\x81\xa7message\xa2hi");

  Corpus deliveries(root, "fuzz_deliveries");
  add_nasty(deliveries);
  const std::string body(300, 'b');
  DeliveryWriter delivery_writer(1000);
  delivery_writer.begin({receipt, 1, TimeMs{1767225600000}, 0, {}, {}, {}, {}, "", 2});
  delivery_writer.out() += "hi";
  const std::string attributes = pack_attributes({.headers = {{"kind", "order"}}});
  delivery_writer.begin({receipt, 3, TimeMs{0}, 9, TimeMs{1767225600000}, {}, {}, {}, attributes, body.size()});
  delivery_writer.out() += body;
  deliveries.add_frame("two", delivery_writer.finish());
  deliveries.add("none", "\x90");
  deliveries.add("no-receipt",
                 "\x91\x81\xa4"
                 "body\xa2hi");
}

// A header and a payload as fuzz_spread reads them.
std::string spread_input(const RequestHeader& header, const std::string& payload, bool fails) {
  const std::string bytes = encode_request_header(header);
  return std::string(1, static_cast<char>(bytes.size() + (fails ? 0x80 : 0))) + bytes + payload;
}

void write_parts(const fs::path& root) {
  Corpus merge(root, "fuzz_merge");
  add_nasty(merge);
  merge.add_frame("items",
                  "\x93\xa1x\x81\xa4"
                  "code\xa5stale\x07");
  merge.add_frame("counts", "\x83\xa5ready\x07\xa6worker\xa2w1\xa6totals\x81\xa4sent\xcd\x01\x00"s);
  merge.add("long-array-of-none", "\xdc\0\0"s);

  Corpus spread(root, "fuzz_spread");
  SendWriter writer;
  writer.add("a", pack_attributes({.key = "k1"}));
  writer.add("b", pack_attributes({.key = "k2"}));
  const std::string messages = writer.finish();
  const std::string receipts =
      encode_receipts(std::vector<std::string>{receipt_text({{6}, {1}, {1}, {1}}), receipt_text({{7}, {1}, {1}, {1}})});
  const RequestHeader receive{.op = Op::kReceive, .queue = "q", .max = 1, .wait_ms = DurationMs{kWaitMsMax}};
  RequestHeader on_delivery = receive;
  on_delivery.ack_on_delivery = true;
  for (const bool fails : {false, true}) {
    const std::string how = fails ? "-fails" : "";
    spread.add("send" + how, spread_input({.op = Op::kSend, .queue = "q"}, messages, fails));
    spread.add("ack" + how, spread_input({.op = Op::kAck, .queue = "q"}, receipts, fails));
    spread.add("receive" + how, spread_input(receive, "\x90", fails));
    spread.add("on-delivery" + how, spread_input(on_delivery, "\x90", fails));
    spread.add("describe" + how, spread_input({.op = Op::kQueueDescribe, .queue = "q"}, "\x81\xa5ready\x07", fails));
  }
}

void write_pages(const fs::path& root) {
  Corpus corpus(root, "fuzz_browse");
  add_nasty(corpus);
  const std::string attributes = pack_attributes({.headers = {{"kind", "order"}}, .traceparent = "00-1"});
  BrowseWriter writer;
  writer.add({{7}, {1}, MessageState::kReady, 0, {1767225600000}, 0, {}, {}, 2, {}}, "hi");
  writer.add({{7}, {2}, MessageState::kDelayed, 1, {1767225600000}, 9, {1767225600000}, {1767225600000}, 9, attributes},
             "cut");
  writer.add({{7}, {3}, MessageState::kLeased, 2, {1767225600000}, 0, {}, {1767225600000}, 0, {}}, "");
  corpus.add_frame("three", writer.finish(BrowseCursor{{7}, {3}, 0}));
  corpus.add_frame("last", BrowseWriter().finish({}));
  corpus.add("no-messages",
             "\x81\xa5"
             "after\xa1x");
  corpus.add("cursor", cursor_text({{7}, {1234567890123}, 9}));
  corpus.add("cursor-longest", "65535-18446744073709551615-9");
  corpus.add("cursor-leading-zero", "07-1-0");
  corpus.add("cursor-too-large", "65536-1-0");
}

void write_queue_settings(const fs::path& root) {
  Corpus corpus(root, "fuzz_queue_settings");
  add_nasty(corpus);
  corpus.add_frame("settings", encode_queue_settings({.lease_ms = DurationMs{60'000}}));
  corpus.add("no-settings", "\x80");
  corpus.add("unknown-setting", "\x81\xa8priority\x05");
  corpus.add("unknown-setting-not-utf8", "\x81\xa2\xff\xfe\x05");
  corpus.add("lease-too-short", "\x81\xa8lease_ms\x05");
}

void write_records(const fs::path& root) {
  Corpus corpus(root, "fuzz_record");
  const auto add = [&corpus](const std::string& name, const std::string& body, OrderingKey key) {
    RecordHeader header;
    header.set_key(key);
    header.epoch = {1};
    header.queue = {2};
    header.producer_bytes = 1;
    header.attribute_bytes = 2;
    header.body_bytes = static_cast<std::uint32_t>(body.size());
    std::string bytes(record_bytes(header), '\0');
    write_record(bytes.data(), {{1}, {2}}, {header, "p", "ab", body});
    corpus.add_frame(name, bytes);
  };
  for (const std::string& body : {std::string(), std::string("body"), std::string(3000, 'x')})
    add("record-" + std::to_string(body.size()), body, {});
  add("record-with-key", "body", {77});
}

void write_envelopes(const fs::path& root) {
  Corpus corpus(root, "fuzz_envelope");
  Envelope envelope{.partition = PartitionId{63},
                    .epoch = Epoch{5},
                    .position = 0x89abcdef,
                    .queue = QueueId{17},
                    .client = "\x00\x80\x00\x41"};
  corpus.add_frame("request", encode_envelope(envelope));
  envelope.kind = EnvelopeKind::kUndeliverable;
  envelope.delimiter = true;
  const std::string longest(kRoutingIdBytesMax, 'c');
  envelope.client = longest;
  corpus.add_frame("longest", encode_envelope(envelope));
  std::string bytes = encode_envelope({});
  corpus.add("no-client", bytes);
  bytes[1] = 4;
  corpus.add("unknown-kind", bytes);
  bytes[0] = 2;
  corpus.add("version-2", bytes);
  corpus.add("empty", "");
}

void write_catalog(const fs::path& root) {
  Corpus corpus(root, "fuzz_catalog");
  add_nasty(corpus);
  const QueueInfo queue{QueueId{17}, "orders", PartitionId{3}, TimeMs{1767225600000}, {}};
  const PartitionInfo partition{{3}, {2}, {6}, "w1", {9}, 2, {"w1", "w2", "w3"}, {"w1", "w3"}, {"w1", "w2"}, {"w3"}};
  const WorkerInfo worker{"w1",     "tcp://127.0.0.1:7400", SessionId{9},           true,   "commit",
                          "cellar", "tcp://127.0.0.1:7402", "tcp://127.0.0.1:7403", "ab12", false};
  const ClusterInfo cluster{77, 3, 2};
  const CatalogSnapshot snapshot{1, CatalogVersion{12}, 4, {queue}, {QueueId{5}}, {partition}, {worker}, cluster};
  corpus.add_frame("snapshot", encode_snapshot(snapshot));
  corpus.add_frame(
      "update",
      encode_update({1,
                     CatalogVersion{12},
                     CatalogVersion{13},
                     {queue, QueueDeleted{QueueId{5}, "old"}, partition, worker, cluster, WorkerForgotten{"w1"}}}));
  corpus.add("update-without-changes", encode_update({1, CatalogVersion{13}, CatalogVersion{13}, {}}));
  const std::vector<std::pair<std::string, MetadRequestBody>> requests{
      {"register", RegisterMember{RegisterMember::Role::kWorker, "w1", "tcp://127.0.0.1:7400", "commit", "cellar",
                                  "tcp://127.0.0.1:7402", "tcp://127.0.0.1:7403", "ab12", false}},
      {"heartbeat", MemberHeartbeat{SessionId{9}}},
      {"get-snapshot", GetSnapshot{}},
      {"create-queue", CreateQueue{"orders", {}, true}},
      {"delete-queue", DeleteQueue{"orders"}},
      {"alter-in-sync", AlterInSync{{9}, {3}, {2}, {6}, {{"w1", {9}}, {"w3", {11}}}}},
      {"resign", ResignLeader{{9}, {3}, {2}}},
      {"unclean", ReportUnclean{{9}, {3}, true, {8}}},
      {"set-cluster", SetCluster{3, 2}},
      {"drain-worker", DrainWorker{"w1", true}},
      {"fence-worker", FenceWorker{"w1", false}},
      {"move-partition", MovePartition{{3}, {"w2", "w1"}}},
      {"force-leader", ForceLeader{{3}, "w2", true}},
      {"forget-worker", ForgetWorker{"w1"}}};
  for (const auto& [name, body] : requests) corpus.add_frame(name, encode_metad_request({8, body}));
  const std::vector<std::pair<std::string, MetadReplyBody>> replies{
      {"reply-error", Error{Errc::kQueueExists, "the queue exists"}},
      {"reply-registered", Registered{SessionId{9}, "tcp://127.0.0.1:7401", 300, 5, 1, CatalogVersion{12}}},
      {"reply-done", Done{}},
      {"reply-snapshot", snapshot},
      {"reply-queue", queue},
      {"reply-deleted", QueueDeleted{QueueId{5}, "old"}},
      {"reply-partition", partition},
      {"reply-cluster", cluster},
      {"reply-worker-load", WorkerLoad{2, 5}},
      {"reply-worker-forgotten", WorkerForgotten{"w1"}}};
  for (const auto& [name, body] : replies) corpus.add_frame(name, encode_metad_reply({8, body}));
}

void write_replication(const fs::path& root) {
  Corpus corpus(root, "fuzz_replication");
  add_nasty(corpus);
  const std::vector<EpochStart> epochs{{{2}, {1}}, {{5}, {90}}};
  const std::vector<SnapshotProducer> producers{{{17}, "till-3", {41}, {1767225600000}}};
  const std::vector<std::pair<std::string, PeerBody>> bodies{
      {"append", AppendRecords{{100}, 3, {5}, {99}, {50}}},
      {"heartbeat", AppendRecords{{100}, 0, {5}, {99}, {50}}},
      {"ack", AckRecords{{103}}},
      {"fetch", FetchRecords{7, {100}, {5}, {1}, {40}}},
      {"fetched", FetchedRecords{7, {100}, {103}, {5}, {99}, {50}, {110}, epochs, producers}},
      {"truncate", TruncateRecords{7, {5}, {90}}},
      {"hash", RangeHash{{101}, 4711}},
      {"differs", RangeDiffers{{1}, {100}}},
      {"transfer", TransferRecords{{3}, {7}, "orders", {9}}},
      {"transferred", TransferredRecords{{7}, {9}, move_mark({5}, {100})}},
      {"snapshot", SnapshotRecords{7, {1}, {90}, {100}, epochs, producers}}};
  for (const auto& [name, body] : bodies) corpus.add_frame(name, encode_peer_message({77, {3}, {5}, "w1", {9}, body}));
  const ReturnState returned{.deliveries = 2, .ready_ms = {1767225600000}, .reason = "no stock"};
  std::string records;
  ship_record(records, {{100}, {}, "a record's bytes"});
  ship_record(records, {{101}, encode_return_state(returned), ""});
  corpus.add_frame("records", records);
  records[20] = '\xff';
  corpus.add("records-too-long", records);
}

void write_controls(const fs::path& root) {
  Corpus corpus(root, "fuzz_control");
  const ReturnState returned{
      .deliveries = 3, .first_ms = {1767225600000}, .reason = "no stock", .move = {MoveCause::kRejected, {9}}};
  const auto typed = [](RecordType type, const ControlBody& body) {
    return static_cast<char>(type) + encode_control(body);
  };
  corpus.add_frame("acks", typed(RecordType::kAcks, Acks{{{7}, 1200}, {{9}, 64}}));
  corpus.add_frame("returns", typed(RecordType::kReturns, Returns{{{7}, returned}}));
  ReturnState out = returned;
  out.move = {};
  out.lease = {{{5}, {12}}, DurationMs{30'000}, {1767225600000}};
  corpus.add_frame("returns-with-lease", typed(RecordType::kReturns, Returns{{{7}, out}}));
  corpus.add_frame("leases", typed(RecordType::kLeases, Leases{{{7}, 1200, out.lease}, {{9}, 64, out.lease}}));
  corpus.add_frame("forgotten", typed(RecordType::kForgetProducers, ProducerNames{"till-3", ""}));
  corpus.add_frame("dropped", typed(RecordType::kDropQueue, {}));
  corpus.add_frame("purged", typed(RecordType::kPurge, {}));
  corpus.add_frame("compared", typed(RecordType::kCompare, LogRange{{3}, {9}}));
  corpus.add("epoch-start", typed(RecordType::kEpochStart, std::monostate{}));
  corpus.add("a-message", typed(RecordType::kMessage, std::monostate{}));
  corpus.add("unknown-type", "\x7f");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: dmq-make-corpus DIRECTORY\n";
    return 2;
  }
  const fs::path root = argv[1];
  write_request_headers(root);
  write_reply_headers(root);
  write_payloads(root);
  write_pages(root);
  write_parts(root);
  write_queue_settings(root);
  write_envelopes(root);
  write_records(root);
  write_catalog(root);
  write_replication(root);
  write_controls(root);
  return 0;
}
