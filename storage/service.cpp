// What a worker does with each request (docs/protocol.md, "Operations"), and what becomes of a turn.
#include "storage/service.hpp"

#include <algorithm>
#include <utility>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "protocol/queue_info.hpp"
#include "storage/log_keys.hpp"

namespace dmq {
namespace {

constexpr std::size_t kExpirePerTick = 1000;
constexpr DurationMs kFullFor{1000};

Error store_full() {
  return {Errc::kInsufficientStorage,
          "the store is full: receive and ack messages, or raise --store-limit or the disk's size"};
}

// In this term, to those that were replicas then: the partition may have no other any more.
bool is_published(const Turn& turn, const Partition& partition) {
  return std::any_of(turn.writes.records.begin(), turn.writes.records.end(), [&](const PutRecord& put) {
    return put.place.partition == partition.id() && !put.encoded.empty() &&
           put.record.header.epoch == partition.replica().epoch();
  });
}

}  // namespace

Error few_replicas() { return {Errc::kNotEnoughReplicas, std::string(code_text(Errc::kNotEnoughReplicas))}; }

Error not_ready() { return {Errc::kUnavailable, "the queue's leader is new and not ready yet; try again"}; }

// Whether what waited will be committed is the next leader's to know.
Error leader_changed() {
  return {Errc::kUnavailable, "the leader changed meanwhile, and whether this was done is not known; try again"};
}

Service::Service(std::string worker_name, ServiceLimits limits, const CatalogCopy& catalog, RecordSource& records)
    : worker_name_(std::move(worker_name)),
      limits_(limits),
      catalog_(catalog),
      records_(records),
      scrub_(limits.scrub_bytes_per_s, limits.scrub_every) {}

Partition& Service::partition(PartitionId id) {
  return partitions_.try_emplace(id, id, worker_name_, limits_.partition, stored_).first->second;
}

void Service::restore_partition(PartitionId id, const PartitionState& state, EpochTable epochs) {
  partition(id).restore(state, std::move(epochs));
}

void Service::restore_producer(const ProducerKey& key, const ProducerState& state) {
  Partition& core = partition(std::get<PartitionId>(key));
  ProducerState known = state;
  if (known.place.value == 0) known.place = core.applied();  // of a store of format 1 or 2
  core.producers().restore(key, known);
}

void Service::restore_dropped(const QueuePlace& place, Lsn below) {
  partition(place.partition).restore_dropped(place.queue, below);
  emptied_.insert(place.partition);
}

void Service::restore_record(RecordPlace place, const RecordHeader& header, const ReturnState& returned,
                             const Now& now) {
  Partition& core = partition(place.partition);
  if (core.rebuilding()) return;                  // it begins anew
  if (place.lsn >= core.replica().end()) return;  // cut off; the place is written again
  if (place.lsn < core.applied()) {
    header.type == RecordType::kMessage ? core.restore_message(place.lsn, header, returned, now)
                                        : core.restore_control(place.lsn);
    return;
  }
  const auto record = records_.read(place);
  if (!record || !core.restore_entry(place.lsn, *record)) core.restore_damaged(place.lsn);
}

// A place that no partition of this store knows has rows that nobody reads.
void Service::restore_miscounted(PartitionId id) {
  const auto found = partitions_.find(id);
  if (found != partitions_.end()) found->second.restore_miscounted();
}

bool Service::handle(const Request& request, const Now& now, Turn& turn, Outbox& out) {
  log_handed_over(now, turn, out);
  const auto found = partitions_.find(request.envelope.partition);
  if (found == partitions_.end() || !found->second.replica().leads() || catalog_.is_deleted(request.envelope.queue))
    return false;
  const Call call{request, now, found->second, request.envelope.queue, turn, out};
  if (const auto decoded = decode_request_header(request.header, header_reader_, header_); !decoded) {
    refuse(call, decoded.error());
    return true;
  }
  if (const auto heard = hear_consumer(call); !heard) {
    refuse(call, heard.error());
    return true;
  }
  switch (header_.op) {
    case Op::kSend:
      send(call);
      break;
    case Op::kReceive:
      receive(call);
      break;
    case Op::kSubscribe:
      subscribe(call);
      break;
    case Op::kUnsubscribe:
      unsubscribe(call);
      break;
    case Op::kAck:
    case Op::kNack:
      settle(call);
      break;
    case Op::kExtend:
      extend(call);
      break;
    case Op::kHeartbeat:
      answer(call, {});
      break;
    case Op::kQueueDescribe:
      describe(call);
      break;
    case Op::kQueueRedrive:
      redrive(call);
      break;
    case Op::kBrowse:
      browse(call);
      break;
    case Op::kQueuePurge:
      purge(call);
      break;
    case Op::kQueueStats:
      stats(call);
      break;
    default:
      refuse(call, {Errc::kInternal, std::string(op_name(header_.op)) + " is no operation of a worker"});
  }
  log_handed_over(now, turn, out);
  return true;
}

// While its receive waits, a consumer is not silent.
Result<void> Service::hear_consumer(const Call& call) {
  if (header_.consumer.empty()) return {};
  return consumers_.heard(call.key(), header_.consumer, header_.heartbeat_ms,
                          call.now.steady + header_.wait_ms.value_or(DurationMs{0}));
}

void Service::refuse(const Call& call, const Error& error) {
  call.out.replies.push_back({call.request.to, encode_reply_header(header_.id, error), {}});
}

void Service::answer(const Call& call, std::string payload) {
  call.out.replies.push_back({call.request.to, encode_ok_header(header_.id), std::move(payload)});
}

// Once all that is in the log now is committed.
void Service::answer_later(const Call& call, std::string payload) {
  call.turn.replies.push_back({call.request.to, header_.id, std::move(payload), call.partition.id(),
                               call.partition.epoch(), call.partition.replica().end(),
                               settings_of(call.queue).confirm});
}

// A leader that is deposed and does not know it yet may lack what its answer goes by. So it writes a record, which says
// nothing, and tells once that is committed.
void Service::refuse_as_leader(const Call& call, const Error& error) {
  if (call.partition.replica().alone()) return refuse(call, error);
  call.partition.append_control(RecordType::kAcks, call.queue, Acks{}, call.now, call.turn);
  answer_later(call, {});
  call.turn.replies.back().confirm = Confirmation::kInSync;
  call.turn.replies.back().error = error;
}

// --- send -------------------------------------------------------------------------------------------------------

void Service::send(const Call& call) {
  if (const auto decoded = decode_send(call.request.payload, payload_reader_, items_); !decoded)
    return refuse(call, decoded.error());
  check_items(call);
  std::vector<const SendItem*> good;
  good.reserve(items_.size());
  for (const SendItem& item : items_) {
    if (item.error.code == Errc::kOk) {
      good.push_back(&item);
    } else if (!header_.producer.empty()) {
      // A sequence stands for one message: a request of a producer is taken whole or not at all.
      return refuse(call,
                    {item.error.code, "message " + std::to_string(&item - items_.data()) + ": " + item.error.context});
    }
  }
  append(call, good);
}

void Service::append(const Call& call, const std::vector<const SendItem*>& good) {
  if (!call.partition.replica().takes_appends()) return refuse(call, few_replicas());  // rule 9
  const QueueSettings& settings = settings_of(call.queue);
  if (settings.pause_send) return refuse(call, {Errc::kPaused, std::string(code_text(Errc::kPaused))});
  if (is_full(call.now, call.request.payload.size())) return refuse(call, store_full());
  const Partition::Sender sender{call.queue,        header_.producer, header_.sequence,
                                 settings.delay_ms, settings.ttl_ms,  settings.dedup};
  const auto repeated = call.partition.repeated(sender, good, call.now);
  if (!repeated) return refuse(call, repeated.error());
  if (const auto room = make_room(call, good, *repeated); !room) return refuse(call, room.error());
  const auto appended = call.partition.append(sender, good, *repeated, call.now, call.turn);
  if (!appended) return refuse_as_leader(call, appended.error());
  // Whether a message is still there, a leader that is deposed cannot tell.
  if (repeated->size() == good.size() && settings.dedup.mode == DedupMode::kWhilePresent && !good.empty())
    call.partition.append_control(RecordType::kAcks, call.queue, Acks{}, call.now, call.turn);
  ResultWriter results(items_.size());
  std::size_t index = 0;
  auto again = repeated->begin();
  Lsn lsn = appended->first;
  for (const SendItem& item : items_) {
    if (item.error.code != Errc::kOk) {
      results.error(item.error);
      continue;
    }
    const bool by_id = again != repeated->end() && *again == index;
    if (by_id) ++again;
    if (index++ < appended->duplicates || by_id) {
      results.duplicate();
    } else {
      results.id(call.partition.id(), lsn);
      ++lsn.value;
    }
  }
  answer_later(call, results.finish());
  count_later(call, Traffic::kSent, good.size() - appended->duplicates - repeated->size());
}

bool Service::is_full(const Now& now, std::uint64_t more) const {
  return now.steady < full_until_ || stored_ + more > limits_.store_bytes;
}

void Service::describe(const Call& call) {
  const QueueInfo* info = catalog_.find_queue(call.queue);
  if (info == nullptr)
    return refuse(call, {Errc::kUnavailable, "this worker has not heard of the queue yet; try again"});
  answer(call, encode_queue_status(*info, status_of(call)));
}

QueueStatus Service::status_of(const Call& call) const {
  const Queue* queue = call.partition.find_queue(call.queue);
  const QueueCounts counts = queue == nullptr ? QueueCounts{} : queue->counts();
  return {worker_name_,
          counts.ready,
          counts.leased,
          counts.delayed,
          counts.dead,
          counts.bytes,
          receivers_.waiting(call.key())};
}

// --- the outcome of a turn ----------------------------------------------------------------------------------------

void Service::seal(Turn& turn, const Now& now, Outbox& out) {
  for (const auto& [id, end] : turn.ends) turn.changed.insert(id);
  for (const PartitionId id : turn.changed) partitions_.at(id).seal(turn);
  publish(turn, now, out);
}

void Service::committed(Turn& turn, const Now& now, Turn& next, Outbox& out) {
  for (PendingReply& reply : turn.replies) {
    Partition& core = partitions_.at(reply.partition);
    const bool same_term = core.replica().leads() && core.epoch() == reply.epoch;
    if (!same_term && !core.replica().alone()) {
      out.replies.push_back({std::move(reply.to), encode_reply_header(reply.id, leader_changed()), {}});
    } else if (reply.confirm == Confirmation::kLeader) {
      let_go(reply, now, out);
    } else {
      core.waiting().push_back(std::move(reply));
    }
  }
  for (const PartitionId id : turn.changed) partitions_.at(id).sealed_is_written();
  ReplicaEffects effects;
  for (const auto& [id, end] : turn.ends) {
    Partition& core = partitions_.at(id);
    core.on_disk(end, now.steady, effects);
    pass_on(core, effects, now, out);
    advance(core, now, next, out);
    watch(core);
  }
  for (const PendingReply& reply : turn.replies) release(partitions_.at(reply.partition), now, out);
  log_handed_over(now, next, out);
}

// What the replicas have committed shows in queues, and lets replies go.
void Service::advance(Partition& partition, const Now& now, Turn& turn, Outbox& out) {
  Partition::Applied applied;
  partition.advance(now, turn, applied);
  while (applied.compare) {
    compare(partition, *std::exchange(applied.compare, std::nullopt), now, out);
    partition.advance(now, turn, applied);
  }
  for (const auto& purged : applied.purged) tell_purged(partition, purged);
  if (!applied.replaced.empty()) take_out_replaced(partition, applied.replaced, now, turn, out);
  release(partition, now, out);
  if (applied.delivers_now) {
    serve_all(partition.id(), now, out);
    for (const auto& [id, queue] : partition.queues()) {
      watch({partition.id(), id}, queue);
      send_leaving({partition.id(), id}, now, turn, out);
    }
  }
  if (applied.dropped) {
    emptied_.insert(partition.id());
    forget_dropped();
  }
  for (const QueueId id : applied.touched) {
    const QueuePlace key{partition.id(), id};
    if (catalog_.is_deleted(id)) {
      deleted_.insert(key);  // while its messages were on their way to the disk
      drops_due_ = now.steady;
      continue;
    }
    if (!partition.replica().leads()) continue;
    serve(key, now, out);
    if (const Queue* there = find_queue(key)) watch(key, *there);
    send_leaving(key, now, turn, out);
  }
}

void Service::release(Partition& partition, const Now& now, Outbox& out) {
  auto& waiting = partition.waiting();
  for (; !waiting.empty() && waiting.front().end <= partition.applied(); waiting.pop_front())
    let_go(waiting.front(), now, out);
  release_taken(partition, out);
}

// Rule 11 holds for what was decided before, too: a leader that stood still may find its leases over.
void Service::let_go(PendingReply& reply, const Now& now, Outbox& out) {
  if (reply.hands_out && !may_deliver(partitions_.at(reply.partition), now)) {
    reply.error = leader_changed();
    reply.payload.clear();
  }
  // Until then it could not know of its messages.
  if (!reply.consumer.empty()) consumers_.reached({reply.partition, reply.counted.queue}, reply.consumer, now.steady);
  if (reply.counted.messages > 0)
    count({reply.partition, reply.counted.queue}, reply.counted.kind, reply.counted.messages, now);
  std::string header = reply.header();
  out.replies.push_back({std::move(reply.to), std::move(header), std::move(reply.payload)});
}

void Service::failed(Turn& turn, const Error& error, const Now& now, Turn& next, Outbox& out) {
  if (error.code == Errc::kInsufficientStorage) full_until_ = now.steady + kFullFor;
  next.effects.prepend(std::move(turn.effects));
  for (const PartitionId id : turn.changed) partitions_.at(id).unsealed();
  next.changed.merge(turn.changed);
  for (const auto& [id, end] : turn.ends) {
    Partition& core = partitions_.at(id);
    const bool published = core.replica().leads() && (!core.replica().alone() || is_published(turn, core));
    core.roll_back(next);
    if (core.has_dropped()) emptied_.insert(id);
    if (published) {
      // Its followers may have what could not be written here: these LSNs are not given again in this term.
      core.replica().step_down();
      replicated_.insert(id);  // it says so until it is heard
      stop_leading(core, out);
    }
    // What could not be settled is to be settled again, also without anybody asking.
    for (const auto& [queue, each] : core.queues()) {
      watch({id, queue}, each);
      send_leaving({id, queue}, now, next, out);
    }
    watch(core);
  }
  const Error told = error.code == Errc::kInsufficientStorage ? store_full() : error;
  for (PendingReply& reply : turn.replies) {
    out.replies.push_back({std::move(reply.to), encode_reply_header(reply.id, told), {}});
  }
}

Queue* Service::find_queue(const QueuePlace& key) {
  const auto partition = partitions_.find(key.partition);
  return partition == partitions_.end() ? nullptr : partition->second.find_queue(key.queue);
}

// For a moment after it was created a queue has those of all others.
const QueueSettings& Service::settings_of(QueueId queue) const {
  static const QueueSettings defaults;
  const QueueInfo* info = catalog_.find_queue(queue);
  return info == nullptr ? defaults : info->settings;
}

// Where to go on looking behind this part of the queue; empty: it is the last one.
std::optional<PartitionId> Service::next_part(const Call& call) const {
  const QueueInfo* const info = catalog_.find_queue(call.queue);
  const auto part = info == nullptr ? std::nullopt : part_at(*info, call.partition.id(), catalog_.partitions());
  if (!part || *part + 1 >= info->settings.partitions) return std::nullopt;
  return place_of_part(*info, static_cast<std::uint16_t>(*part + 1), catalog_.partitions());
}

// --- time ---------------------------------------------------------------------------------------------------------

void Service::tick(const Now& now, Turn& turn, Outbox& out) {
  log_handed_over(now, turn, out);  // before leases end
  end_silent(now);
  for (std::size_t i = 0; i < kExpirePerTick && !watch_.empty() && watch_.begin()->first <= now.steady; ++i) {
    const QueuePlace key = watch_.begin()->second;
    watch_.erase(watch_.begin());
    watched_.erase(key);
    Queue* const queue = find_queue(key);
    // Rule 3: what an earlier leader decided about these messages may not be applied yet. Then advance() looks again.
    if (queue == nullptr || !partitions_.at(key.partition).replica().delivers()) continue;
    expire_leases(key, *queue, now, turn);
    wake(key, *queue, now, out);
    remove_expired(key, *queue, now, turn, out);
    watch(key, *queue);
  }
  log_handed_over(now, turn, out);
  give_back_undelivered(now, turn);
  hear_own(now, turn, out);
  if (now.steady >= transfers_due_) tick_transfers(now, turn, out);
  tell_end(receivers_.take_ended(now.steady), out);
  if (now.steady >= producers_due_) forget_producers(now, turn);
  if (!deleted_.empty() && now.steady >= drops_due_) drop_deleted(now, turn);
  remove_dropped(turn.effects);
  if (const auto due = scrub_.due(); due && *due <= now.steady) scrub(now, turn, out);
  if (now.steady >= replicas_due_) tick_replicas(now, turn, out);
}

// A snapshot's next part is asked for while the last one is written, until the disk is too far behind.
void Service::tick_replicas(const Now& now, const Turn& turn, Outbox& out) {
  replicas_due_ = TimeMs{INT64_MAX};
  ReplicaEffects effects;
  for (const PartitionId id : replicated_) {
    Partition& core = partitions_.at(id);
    if (core.replica().next_deadline() <= now.steady) {
      if (turn.stored_bytes >= limits_.partition.turn_fetch_bytes_max) core.replica().fetch_later(now.steady);
      core.replica().tick(now.steady, effects);
      pass_on(core, effects, now, out);
    }
    watch(core);
  }
}

void Service::watch(const Partition& partition) {
  replicas_due_ = std::min(replicas_due_, partition.replica().next_deadline());
}

// What a leader has read, all replicas are to compare.
void Service::scrub(const Now& now, Turn& turn, Outbox& out) {
  std::vector<PartitionId> held;
  for (const auto& [id, partition] : partitions_) held.push_back(id);
  const auto found = [&](RecordPlace place, const Error& error) {
    found_damage(partitions_.at(place.partition), place.lsn, error, now, out);
  };
  const auto covered = [&](PartitionId id, LogRange range) {
    Partition& core = partitions_.at(id);
    if (!core.replica().takes_appends() || core.replica().alone()) return;
    range.end = std::min(range.end, core.applied());
    if (range.first < range.end) core.append_control(RecordType::kCompare, {}, range, now, turn);
  };
  const auto round = scrub_.step(now.steady, held, records_, found, covered);
  if (!round || round->records == 0) return;
  out.remarks.push_back("all records were read to find damage: " + std::to_string(round->records) + " records, " +
                        std::to_string(round->bytes) + " bytes, " + std::to_string(round->damaged) + " damaged, in " +
                        std::to_string((now.steady - round->begun).value / 1000) + " s");
}

std::optional<TimeMs> Service::next_deadline() const {
  if (next_removable() || !own_.empty() || !handed_over_.empty() || !undelivered_.empty()) return TimeMs{0};
  std::optional<TimeMs> next;
  const auto sooner = [&next](TimeMs time) {
    if (!next || time < *next) next = time;
  };
  if (!deleted_.empty()) sooner(drops_due_);
  if (!ways_.empty()) sooner(transfers_due_);
  if (!watch_.empty()) sooner(watch_.begin()->first);
  if (const auto due = scrub_.due()) sooner(*due);
  if (const auto ends = receivers_.next_deadline()) sooner(*ends);
  if (const auto silent = consumers_.next_deadline()) sooner(*silent);
  if (!replicated_.empty()) sooner(replicas_due_);
  return next;
}

}  // namespace dmq
