// What a worker does with each request (docs/protocol.md, "Operations").
#include "storage/service.hpp"

#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/queue_info.hpp"
#include "storage/log.hpp"

namespace dmq {
namespace {

constexpr std::size_t kExpirePerTick = 1000;
constexpr std::size_t kRemovePerTick = 5000;
constexpr std::size_t kForgetPerTick = 1000;
constexpr DurationMs kForgetEvery{60'000};
constexpr DurationMs kFullFor{1000};
constexpr std::size_t kDeliveryOverhead = 128;  // of one message in a receive reply

Error store_full() {
  return {Errc::kInsufficientStorage,
          "the store is full: receive and ack messages, or raise --store-limit or the disk's size"};
}

}  // namespace

Service::Service(std::string worker_name, ServiceLimits limits, const CatalogCopy& catalog, RecordSource& records)
    : worker_name_(std::move(worker_name)), limits_(limits), catalog_(catalog), records_(records) {}

Partition& Service::partition(PartitionId id) { return partitions_.try_emplace(id, id).first->second; }

void Service::restore_message(RecordPlace place, const RecordHeader& header, std::uint32_t deliveries) {
  stored_ += stored_bytes(record_bytes(header));
  partition(place.partition).restore_message(place.lsn, header, deliveries);
}

bool Service::handle(const Request& request, const Now& now, Turn& turn, std::vector<Reply>& replies) {
  const auto found = partitions_.find(request.envelope.partition);
  if (found == partitions_.end() || !found->second.leads() || catalog_.is_deleted(request.envelope.queue)) return false;
  const Call call{request, now, found->second, request.envelope.queue, turn, replies};
  if (const auto decoded = decode_request_header(request.header, header_reader_, header_); !decoded) {
    refuse(call, decoded.error());
    return true;
  }
  switch (header_.op) {
    case Op::kSend:
      send(call);
      break;
    case Op::kReceive:
      receive(call);
      break;
    case Op::kAck:
    case Op::kNack:
      settle(call);
      break;
    case Op::kExtend:
      extend(call);
      break;
    case Op::kQueueDescribe:
      describe(call);
      break;
    default:
      refuse(call, {Errc::kInternal, std::string(op_name(header_.op)) + " is no operation of a worker"});
  }
  return true;
}

void Service::refuse(const Call& call, const Error& error) {
  call.replies.push_back({call.request.to, encode_reply_header(header_.id, error), {}});
}

void Service::answer(const Call& call, std::string payload) {
  call.replies.push_back({call.request.to, encode_ok_header(header_.id), std::move(payload)});
}

// --- send -------------------------------------------------------------------------------------------------------

void Service::send(const Call& call) {
  if (const auto decoded = decode_send(call.request.payload, payload_reader_, items_); !decoded)
    return refuse(call, decoded.error());
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
  if (is_full(call.now, call.request.payload.size())) return refuse(call, store_full());
  WriteBatch& writes = call.turn.writes;
  const std::size_t before = writes.messages.size();
  const auto appended =
      call.partition.append({call.queue, header_.producer, header_.sequence}, good, call.now.wall, writes);
  if (!appended) return refuse(call, appended.error());

  ResultWriter results(items_.size());
  std::size_t index = 0;
  Lsn lsn = appended->first;
  for (const SendItem& item : items_) {
    if (item.error.code != Errc::kOk) {
      results.error(item.error);
    } else if (index++ < appended->duplicates) {
      results.duplicate();
    } else {
      results.id(call.partition.id(), lsn);
      ++lsn.value;
    }
  }
  for (std::size_t i = before; i < writes.messages.size(); ++i) {
    PutMessage& message = writes.messages[i];
    const std::uint64_t stored = stored_bytes(record_bytes(message.header));
    stored_ += stored;
    call.turn.stored_bytes += stored;
    if (!message.attributes.empty()) message.attributes = call.turn.kept_strings.emplace_back(message.attributes);
  }
  call.turn.replies.push_back({call.request.to, header_.id, results.finish()});
}

bool Service::is_full(const Now& now, std::uint64_t more) const {
  return now.steady < full_until_ || stored_ + more > limits_.store_bytes;
}

// --- receive ----------------------------------------------------------------------------------------------------

void Service::receive(const Call& call) {
  const Parked wish{call.request.to,
                    header_.id,
                    header_.max == 0 ? 1 : header_.max,
                    header_.max_bytes == 0 ? kReceiveBytesDefault : header_.max_bytes,
                    header_.lease_ms.value_or(lease_of(call.queue)),
                    call.now.steady + header_.wait_ms.value_or(DurationMs{0})};
  std::string payload = deliver(call.key(), wish, call.now);
  if (!payload.empty()) return answer(call, std::move(payload));
  if (wish.until <= call.now.steady) return answer(call, DeliveryWriter(8).finish());
  park(call, wish);
}

void Service::park(const Call& call, const Parked& parked) {
  if (parked_until_.size() >= limits_.parked_max) {
    return refuse(call, {Errc::kUnavailable, "too many receives wait here; try again, or wait in fewer of them"});
  }
  const Ticket ticket = next_ticket_++;
  parked_until_.emplace(parked.until, call.key(), ticket);
  parked_[call.key()].emplace(ticket, parked);
}

std::string Service::deliver(const QueueKey& key, const Parked& wish, const Now& now) {
  Queue* const queue = find_queue(key);
  if (queue == nullptr || !queue->has_ready()) return {};
  const Partition& partition = partitions_.at(key.partition);
  std::optional<DeliveryWriter> writer;
  std::uint64_t bytes = 0;
  for (std::uint64_t count = 0; count < wish.max && queue->has_ready();) {
    const Lsn lsn = *queue->first_ready();
    const auto record = records_.read({key.partition, lsn});
    if (!record && record.error().code == Errc::kUnavailable) break;
    if (!record) {
      queue->drop_first(0);  // never delivered and never deleted: it stays in the log for repair
      continue;
    }
    const std::size_t body = record->body.size();
    if (count > 0 && bytes + body > wish.max_bytes) break;
    if (!writer) {
      const std::uint64_t likely =
          std::min(wish.max, queue->counts().ready) * (body + record->attributes.size() + kDeliveryOverhead);
      writer.emplace(std::min<std::uint64_t>(
          likely, std::max<std::uint64_t>(wish.max_bytes, body) + wish.max * kDeliveryOverhead));
    }
    const Lease lease =
        queue->lease_first(now.steady + wish.lease, static_cast<std::uint32_t>(record_bytes(record->header)));
    writer->begin({key.partition, partition.epoch(), lsn, lease.number}, lease.deliveries, record->header.sent_ms,
                  record->attributes, body);
    writer->out().append(record->body);
    bytes += body;
    ++count;
  }
  if (!writer) return {};
  watch(key, *queue);
  return writer->finish();
}

void Service::serve_parked(const QueueKey& key, const Now& now, std::vector<Reply>& replies) {
  const auto waiting = parked_.find(key);
  if (waiting == parked_.end()) return;
  while (!waiting->second.empty()) {
    const auto first = waiting->second.begin();
    std::string payload = deliver(key, first->second, now);
    if (payload.empty()) return;
    replies.push_back({first->second.to, encode_ok_header(first->second.id), std::move(payload)});
    parked_until_.erase({first->second.until, key, first->first});
    waiting->second.erase(first);
  }
  parked_.erase(waiting);
}

// --- ack, nack, extend --------------------------------------------------------------------------------------------

void Service::settle(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  const bool ack = header_.op == Op::kAck;
  const TimeMs ready_at = call.now.steady + header_.delay_ms.value_or(DurationMs{0});
  Queue* const queue = call.partition.find_queue(call.queue);
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && receipt->partition == call.partition.id() &&
                      call.partition.knows(receipt->epoch);
    const auto lease = ours ? queue->begin_settle(receipt->lsn, receipt->lease) : std::nullopt;
    if (!lease) {
      results.error({Errc::kStaleReceipt, {}});
      continue;
    }
    const RecordPlace place{call.partition.id(), receipt->lsn};
    if (ack) {
      call.turn.writes.removals.push_back(place);
      if (lease->deliveries > 1) call.turn.writes.deliveries[place] = 0;
    } else {
      call.turn.writes.deliveries[place] = lease->deliveries;
    }
    call.turn.settlings.push_back(
        {ack ? Settling::Kind::kAck : Settling::Kind::kGiveBack, place, call.queue, *lease, ready_at});
    results.ok();
  }
  call.turn.replies.push_back({call.request.to, header_.id, results.finish()});
}

void Service::extend(const Call& call) {
  if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, receipts_); !decoded) {
    return refuse(call, decoded.error());
  }
  const TimeMs deadline = call.now.steady + header_.lease_ms.value_or(lease_of(call.queue));
  Queue* const queue = call.partition.find_queue(call.queue);
  ResultWriter results(receipts_.size());
  for (const std::string_view text : receipts_) {
    const auto receipt = parse_receipt(text);
    const bool ours = receipt && queue != nullptr && receipt->partition == call.partition.id() &&
                      call.partition.knows(receipt->epoch);
    ours && queue->extend(receipt->lsn, receipt->lease, deadline) ? results.ok()
                                                                  : results.error({Errc::kStaleReceipt, {}});
  }
  if (queue != nullptr) watch(call.key(), *queue);
  answer(call, results.finish());
}

void Service::undeliverable(const Envelope& envelope, std::string_view payload, const Now& now,
                            std::vector<Reply>& replies) {
  Queue* const queue = find_queue({envelope.partition, envelope.queue});
  std::vector<Delivery> messages;
  if (queue == nullptr || !decode_deliveries(payload, payload_reader_, messages)) return;  // a reply of another kind
  for (const Delivery& message : messages) {
    if (const auto receipt = parse_receipt(message.receipt)) queue->undo_lease(receipt->lsn, receipt->lease);
  }
  serve_parked({envelope.partition, envelope.queue}, now, replies);
}

void Service::describe(const Call& call) {
  const QueueInfo* info = catalog_.find_queue(call.queue);
  if (info == nullptr)
    return refuse(call, {Errc::kUnavailable, "this worker has not heard of the queue yet; try again"});
  const Queue* queue = call.partition.find_queue(call.queue);
  const QueueCounts counts = queue == nullptr ? QueueCounts{} : queue->counts();
  const auto waiting = parked_.find(call.key());
  answer(call, encode_queue_status(*info, {worker_name_, counts.ready, counts.leased, counts.delayed, counts.bytes,
                                           waiting == parked_.end() ? 0 : waiting->second.size()}));
}

// --- the outcome of a turn ----------------------------------------------------------------------------------------

void Service::committed(Turn& turn, const Now& now, std::vector<Reply>& replies) {
  for (auto& [id, partition] : partitions_) partition.committed(turn.writes);
  std::set<QueueKey> touched;
  Queue* queue = nullptr;
  QueueKey key;
  for (const PutMessage& message : turn.writes.messages) {
    if (queue == nullptr || key != QueueKey{message.place.partition, message.header.queue}) {
      key = {message.place.partition, message.header.queue};
      queue = &partitions_.at(key.partition).queue(key.queue);
      touched.insert(key);
    }
    queue->append(message.place.lsn, static_cast<std::uint32_t>(record_bytes(message.header)));
  }
  for (const Settling& settling : turn.settlings) {
    finish_settling(settling, now, true);
    if (settling.kind == Settling::Kind::kGiveBack) touched.insert({settling.place.partition, settling.queue});
  }
  for (PendingReply& reply : turn.replies) {
    replies.push_back({std::move(reply.to), encode_ok_header(reply.id), std::move(reply.payload)});
  }
  for (const QueueKey& each : touched) {
    if (catalog_.is_deleted(each.queue)) {
      drop_queue(each, turn, replies);  // deleted while its messages were on their way to the disk
    } else {
      serve_parked(each, now, replies);
      if (const Queue* there = find_queue(each)) watch(each, *there);
    }
  }
}

void Service::failed(Turn& turn, const Error& error, const Now& now, std::vector<Reply>& replies) {
  if (error.code == Errc::kInsufficientStorage) full_until_ = now.steady + kFullFor;
  for (auto& [id, partition] : partitions_) partition.roll_back();
  stored_ -= turn.stored_bytes;
  for (const Settling& settling : turn.settlings) finish_settling(settling, now, false);
  const Error told = error.code == Errc::kInsufficientStorage ? store_full() : error;
  for (PendingReply& reply : turn.replies)
    replies.push_back({std::move(reply.to), encode_reply_header(reply.id, told), {}});
}

void Service::finish_settling(const Settling& settling, const Now& now, bool committed) {
  const QueueKey key{settling.place.partition, settling.queue};
  Queue* const queue = find_queue(key);
  if (queue == nullptr) return;  // deleted meanwhile
  if (!committed) {
    queue->restore(settling.place.lsn, settling.lease);
  } else if (settling.kind == Settling::Kind::kAck) {
    queue->settled(settling.lease);
    stored_ -= stored_bytes(settling.lease.bytes);
  } else {
    queue->give_back(settling.place.lsn, settling.lease, settling.ready_at, now.steady);
  }
}

Queue* Service::find_queue(const QueueKey& key) {
  const auto partition = partitions_.find(key.partition);
  return partition == partitions_.end() ? nullptr : partition->second.find_queue(key.queue);
}

DurationMs Service::lease_of(QueueId queue) const {
  const QueueInfo* info = catalog_.find_queue(queue);
  return info == nullptr ? DurationMs{kLeaseMsDefault} : info->settings.lease_ms;
}

// --- time ---------------------------------------------------------------------------------------------------------

void Service::watch(const QueueKey& key, const Queue& queue) {
  const auto deadline = queue.next_deadline();
  const auto old = watched_.find(key);
  if (old != watched_.end()) {
    if (deadline && *deadline == old->second) return;
    watch_.erase({old->second, key});
    watched_.erase(old);
  }
  if (!deadline) return;
  watched_.emplace(key, *deadline);
  watch_.emplace(*deadline, key);
}

void Service::tick(const Now& now, Turn& turn, std::vector<Reply>& replies) {
  while (!watch_.empty() && watch_.begin()->first <= now.steady) {
    const QueueKey key = watch_.begin()->second;
    watch_.erase(watch_.begin());
    watched_.erase(key);
    Queue* const queue = find_queue(key);
    if (queue == nullptr) continue;
    expire_leases(key, *queue, now, turn);
    if (queue->wake_delayed(now.steady)) serve_parked(key, now, replies);
    watch(key, *queue);
    if (turn.settlings.size() >= kExpirePerTick) break;
  }
  expire_parked(now, replies);
  if (now.steady >= producers_due_) forget_idle_producers(now, turn);
  remove_doomed(turn);
}

void Service::expire_leases(const QueueKey& key, Queue& queue, const Now& now, Turn& turn) {
  expired_.clear();
  queue.expire(now.steady, kExpirePerTick, expired_);
  for (const auto& [lsn, lease] : expired_) {
    const RecordPlace place{key.partition, lsn};
    turn.writes.deliveries[place] = lease.deliveries;
    turn.settlings.push_back({Settling::Kind::kGiveBack, place, key.queue, lease, now.steady});
  }
}

void Service::expire_parked(const Now& now, std::vector<Reply>& replies) {
  while (!parked_until_.empty() && std::get<TimeMs>(*parked_until_.begin()) <= now.steady) {
    const auto [until, key, ticket] = *parked_until_.begin();
    parked_until_.erase(parked_until_.begin());
    const auto waiting = parked_.find(key);
    const auto parked = waiting->second.find(ticket);
    replies.push_back({parked->second.to, encode_ok_header(parked->second.id), DeliveryWriter(8).finish()});
    waiting->second.erase(parked);
    if (waiting->second.empty()) parked_.erase(waiting);
  }
}

void Service::forget_idle_producers(const Now& now, Turn& turn) {
  producers_due_ = now.steady + kForgetEvery;
  const TimeMs before{now.wall.value - limits_.producer_idle.value};
  for (auto& [id, partition] : partitions_) partition.producers().forget_idle(before, kForgetPerTick, turn.writes);
}

std::optional<TimeMs> Service::next_deadline() const {
  if (!doomed_.empty()) return TimeMs{0};
  std::optional<TimeMs> next;
  const auto sooner = [&next](TimeMs time) {
    if (!next || time < *next) next = time;
  };
  if (!watch_.empty()) sooner(watch_.begin()->first);
  if (!parked_until_.empty()) sooner(std::get<TimeMs>(*parked_until_.begin()));
  return next;
}

void Service::unpark_all(std::vector<Reply>& replies) {
  for (const auto& [key, waiting] : parked_) {
    for (const auto& [ticket, parked] : waiting) {
      replies.push_back({parked.to, encode_ok_header(parked.id), DeliveryWriter(8).finish()});
    }
  }
  parked_.clear();
  parked_until_.clear();
}

// --- the catalog ----------------------------------------------------------------------------------------------------

Result<void> Service::follow_catalog(SessionId session, const CatalogChange* change, const Now&, Turn& turn,
                                     std::vector<Reply>& replies) {
  if (change != nullptr && std::holds_alternative<QueueInfo>(*change)) return {};
  if (change != nullptr && std::holds_alternative<QueueDeleted>(*change)) {
    const QueueId id = std::get<QueueDeleted>(*change).id;
    for (const auto& [partition, core] : partitions_) drop_queue({partition, id}, turn, replies);
    return {};
  }
  if (change == nullptr) {
    std::vector<QueueKey> gone;
    for (auto& [id, partition] : partitions_) {
      for (const auto& [queue, core] : partition.queues()) {
        if (catalog_.is_deleted(queue)) gone.push_back({id, queue});
      }
    }
    for (const QueueKey& key : gone) drop_queue(key, turn, replies);
  }
  return follow_partitions(session, turn);
}

Result<void> Service::follow_partitions(SessionId session, Turn& turn) {
  const WorkerInfo* self = catalog_.find_worker(worker_name_);
  // What the catalog says of an older session of this worker is not for this process.
  if (self == nullptr || self->session != session) return {};
  for (std::uint16_t i = 0; i < catalog_.partitions(); ++i) {
    const PartitionInfo* info = catalog_.find_partition({i});
    if (info == nullptr) continue;
    const auto known = partitions_.find(info->id);
    if (info->leader != worker_name_ || info->leader_session != session) {  // rule 1 of replication
      if (known != partitions_.end()) known->second.resign();
      continue;
    }
    Partition& core = partition(info->id);
    if (core.leads() && core.epoch() == info->epoch) continue;
    if (auto led = core.lead(info->epoch, turn.writes); !led) return led;
  }
  return {};
}

void Service::drop_queue(const QueueKey& key, Turn& turn, std::vector<Reply>& replies) {
  const auto partition = partitions_.find(key.partition);
  if (partition == partitions_.end()) return;
  partition->second.producers().forget_queue(key.queue, turn.writes);
  if (const Queue* queue = partition->second.find_queue(key.queue)) {
    doomed_.push_back({key.partition, queue->all(), queue->counts().bytes});
    partition->second.queues().erase(key.queue);
  }
  const auto waiting = parked_.find(key);
  if (waiting == parked_.end()) return;
  for (const auto& [ticket, parked] : waiting->second) {
    replies.push_back({parked.to, encode_reply_header(parked.id, {Errc::kNoSuchQueue, "the queue was deleted"}), {}});
    parked_until_.erase({parked.until, key, ticket});
  }
  parked_.erase(waiting);
}

void Service::remove_doomed(Turn& turn) {
  if (doomed_.empty()) return;
  Doomed& doomed = doomed_.front();
  for (std::size_t i = 0; i < kRemovePerTick && !doomed.lsns.empty(); ++i) {
    const RecordPlace place{doomed.partition, doomed.lsns.back()};
    doomed.lsns.pop_back();
    turn.writes.removals.push_back(place);
    turn.writes.deliveries[place] = 0;
  }
  if (!doomed.lsns.empty()) return;
  stored_ -= std::min(stored_, doomed.stored);
  doomed_.pop_front();
}

}  // namespace dmq
