// Drives the request core as a script: requests in, replies as text, commits that succeed or fail on demand.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "protocol/payload.hpp"
#include "protocol/queue_info.hpp"
#include "storage/service.hpp"

namespace dmq {

// Committed records in memory.
class MemoryRecords : public RecordSource {
 public:
  Result<RecordView> read(RecordPlace place) override {
    if (unreadable) return fail(Errc::kUnavailable, "injected");
    const auto found = bytes.find(place);
    if (found == bytes.end()) return fail(Errc::kInternal, "absent");
    return read_record(found->second, place);
  }
  Result<void> scan(RecordPlace from, const Visit& visit) override {
    for (auto at = bytes.lower_bound(from); at != bytes.end() && at->first.partition == from.partition; ++at) {
      const auto record = read_record(at->second, at->first);
      if (!visit(at->first.lsn, at->second, record)) break;
    }
    return {};
  }
  void apply(const WriteBatch& writes) {
    for (const RecordPlace from : writes.truncations) {
      bytes.erase(bytes.lower_bound(from),
                  bytes.lower_bound({{static_cast<std::uint16_t>(from.partition.value + 1)}, {}}));
    }
    for (const RecordPlace place : writes.removals) bytes.erase(place);
    for (const PutRecord& put : writes.records) {
      std::string record(put.encoded);
      if (record.empty()) {
        record.resize(record_bytes(put.record.header));
        write_record(record.data(), put.place, put.record);
      }
      bytes[put.place] = std::move(record);
    }
    for (const auto& [place, state] : writes.returns) returns[place] = state;
    std::erase_if(returns, [](const auto& row) { return row.second.is_empty(); });
    for (const auto& [id, table] : writes.epochs) epochs[id] = table;
    for (const ProducerKey& key : writes.forgotten_producers) producers.erase(key);
    for (const auto& [key, state] : writes.producers) producers[key] = state;
    for (const auto& [place, below] : writes.dropped) dropped[place] = below;
    std::erase_if(dropped, [](const auto& entry) { return entry.second.value == 0; });
  }
  std::map<RecordPlace, std::string> bytes;
  std::map<PartitionId, EpochTable> epochs;
  std::map<ProducerKey, ProducerState> producers;
  std::map<RecordPlace, ReturnState> returns;
  std::map<QueuePlace, Lsn> dropped;
  bool unreadable = false;  // the store as a whole
};

// One worker that leads partition 0 with queues 1 ("q") and 2 ("r"). Every request is committed at once, unless the
// script gathers. Replies are "code" or "code: results or bodies", with a "+" where more follow to the same request.
class ServiceScript {
 public:
  explicit ServiceScript(ServiceLimits limits = {}) : service("w", limits, catalog, records) {
    CatalogSnapshot snapshot;
    snapshot.version = {1};
    snapshot.partitions = 1;
    snapshot.queues = {{{1}, "q", {0}, {0}, {}}, {{2}, "r", {0}, {0}, {}}};
    snapshot.partition_infos = {{.id = {0},
                                 .epoch = {1},
                                 .version = {1},
                                 .leader = "w",
                                 .leader_session = {7},
                                 .replicas = {"w"},
                                 .in_sync = {"w"}}};
    snapshot.workers = {{"w", "inproc://w", {7}, true, "commit"}};
    catalog.apply(snapshot);
    follow();
  }

  void follow(const CatalogChange* change = nullptr) {
    followed = service.follow_catalog({7}, change, now, turn, outbox);
    commit();
  }
  // New settings of a queue, each time.
  void set(const QueueSettings& settings, QueueId queue = {1}) {
    QueueInfo info = *catalog.find_queue(queue);
    info.settings = settings;
    ++info.version;
    change(info);
  }
  void change(CatalogChange what) {
    CatalogUpdate update{0, catalog.version(), {catalog.version().value + 1}, {what}};
    catalog.apply(update);
    follow(&what);
  }

  std::string send(const std::vector<std::string>& bodies, std::string_view producer = "", std::uint64_t sequence = 0) {
    SendWriter writer;
    for (const std::string& body : bodies) writer.add(body, {});
    RequestHeader header;
    header.op = Op::kSend;
    header.producer = producer;
    header.sequence = {sequence};
    return request(header, writer.finish());
  }
  std::string send_one(std::string_view body, const MessageOptions& options) {
    SendWriter writer;
    writer.add(body, pack_message_pairs({}, options));
    RequestHeader header;
    header.op = Op::kSend;
    return request(header, writer.finish());
  }
  std::string send_with_key(std::string_view body) {
    SendWriter writer;
    Attributes attributes;
    attributes.key = "k";
    writer.add(body, pack_message_pairs(attributes, {}));
    RequestHeader header;
    header.op = Op::kSend;
    return request(header, writer.finish());
  }
  std::string receive(std::uint64_t max = 1, std::int64_t wait_ms = 0, std::int64_t lease_ms = 1000) {
    RequestHeader header;
    header.op = Op::kReceive;
    header.max = max;
    header.wait_ms = DurationMs{wait_ms};
    header.lease_ms = DurationMs{lease_ms};
    return request(header, {});
  }
  std::string settle(Op op, const std::vector<std::string>& texts, std::int64_t delay_ms = 0) {
    RequestHeader header;
    header.op = op;
    if (op == Op::kNack) header.delay_ms = DurationMs{delay_ms};
    return request(header, encode_receipts(texts));
  }
  std::string ack(const std::string& receipt) { return settle(Op::kAck, {receipt}); }

  std::string request(RequestHeader header, std::string payload, QueueId queue = {1}) {
    header.queue = "q";
    header.id = ++last_id;
    const std::string bytes = encode_request_header(header);
    return raw(bytes, std::move(payload), queue);
  }
  std::string raw(const std::string& header, std::string payload, QueueId queue = {1}) {
    Envelope envelope;
    envelope.queue = queue;
    payloads.push_back(std::move(payload));
    Request request{{"router", encode_envelope(envelope)}, envelope, header, payloads.back()};
    if (!service.handle(request, now, turn, outbox)) return "hand back";
    if (!gathering) commit();
    return taken();
  }

  // Passes time, in steps of a tick.
  std::string wait(std::int64_t ms) {
    now.steady = now.steady + DurationMs{ms};
    now.wall = now.wall + DurationMs{ms};
    service.tick(now, turn, outbox);
    if (!gathering) commit();
    return taken();
  }

  void commit() {
    service.seal(turn, now, outbox);
    records.apply(turn.effects);
    records.apply(turn.writes);
    Turn done = std::exchange(turn, {});
    service.committed(done, now, turn, outbox);
  }
  void fail_commit(Errc code = Errc::kInsufficientStorage) { fail_commit(std::exchange(turn, {}), code); }
  // `done` was under way while `turn` was gathered.
  void fail_commit(Turn done, Errc code) {
    done.absorb(std::exchange(turn, {}));
    service.failed(done, {code, "injected"}, now, turn, outbox);
  }

  // Replies since the last call, joined by "; ".
  std::string taken() {
    std::string out;
    for (const Reply& reply : std::exchange(outbox.replies, {})) out += (out.empty() ? "" : "; ") + text_of(reply);
    return out;
  }
  QueueCounts counts(QueueId queue = {1}) {
    const Queue* found = service.partition({0}).find_queue(queue);
    return found == nullptr ? QueueCounts{} : found->counts();
  }

  CatalogCopy catalog;
  MemoryRecords records;
  Service service;
  Turn turn;
  Outbox outbox;
  std::deque<std::string> payloads;
  std::vector<std::string> receipts;      // of the messages that were delivered last
  std::uint32_t deliveries = 0;           // of the last message
  std::string last_payload;               // of the last reply
  std::optional<Confirmation> confirmed;  // as the last reply says
  bool gathering = false;                 // keep the turn open until commit() or fail_commit()
  Result<void> followed;
  std::uint64_t last_id = 0;
  Now now{{1'000'000}, {1'700'000'000'000}};

 private:
  std::string text_of(const Reply& reply) {
    MsgpackReader reader;
    const auto header = decode_reply_header(reply.header, reader);
    confirmed = header->confirmed;
    last_payload = reply.payload;
    std::string out(code_name(header->code));
    if (header->more) out += "+";
    if (header->code != Errc::kOk || reply.payload.empty()) return out;
    std::vector<Delivery> messages;
    if (decode_deliveries(reply.payload, reader, messages)) {
      receipts.clear();
      for (const Delivery& message : messages) {
        out += (receipts.empty() ? ": " : " ") + std::string(message.body.substr(0, 20));
        receipts.emplace_back(message.receipt);
        deliveries = message.deliveries;
      }
      return !messages.empty() ? out : header->more ? "nothing+" : "nothing";
    }
    const auto results = decode_results(reply.payload, reader);
    if (!results) return out + ": a map";
    std::string list;
    for (const ItemResult& result : *results) {
      list += list.empty() ? "" : " ";
      list += result.duplicate           ? "duplicate"
              : result.code == Errc::kOk ? result.text
                                         : std::string(code_name(result.code));
    }
    return out + ": " + list;
  }
};

// Another process over the same store.
inline void restart(const ServiceScript& from, ServiceScript& to) {
  to.now = from.now;
  to.records.bytes = from.records.bytes;
  to.records.returns = from.records.returns;
  for (const auto& [place, bytes] : from.records.bytes) {
    const auto returned = from.records.returns.find(place);
    to.service.partition({0}).restore_message(place.lsn, *read_record_header(bytes),
                                              returned == from.records.returns.end() ? ReturnState{} : returned->second,
                                              to.now);
  }
}

}  // namespace dmq
