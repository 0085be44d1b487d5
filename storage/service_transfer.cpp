// Messages that leave a queue for another one, perhaps in another partition: dead letters, and their way back.
#include <algorithm>

#include "protocol/limits.hpp"
#include "protocol/parts.hpp"
#include "protocol/queue_info.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr DurationMs kTransferPatience{1000};  // then what was not answered is sent again
constexpr std::size_t kTransferMessagesMax = 256;
constexpr std::size_t kTransferBytesMax = 1 << 20;  // but at least one message
constexpr std::size_t kRedriveLooksMax = 1'000;     // of one request, at messages that stay too

// Under this name the other queue remembers what it has: one counts all that goes from one queue to one other.
std::string transfer_producer(PartitionId source, QueueId from) {
  return kTransferProducer + std::to_string(source.value) + "." + std::to_string(from.value);
}

}  // namespace

// --- the queue that gives up -----------------------------------------------------------------------------------------

// To each other queue one part at a time is under way. It is sent until it is answered; the other queue takes it once.
void Service::send_leaving(const QueuePlace& key, const Now& now, Turn& turn, Outbox& out) {
  Queue* const queue = find_queue(key);
  if (queue == nullptr || !queue->has_leaving()) return;
  Partition& partition = partitions_.at(key.partition);
  if (!partition.replica().delivers()) return;  // rule 3
  for (auto next = queue->leaving().begin(); next != queue->leaving().end();) {
    const QueueId to = next->to;
    const auto [way, fresh] = ways_.try_emplace({key, to}, now.steady);
    if (fresh || way->second <= now.steady) {
      way->second = now.steady + kTransferPatience;
      transfers_due_ = std::min(transfers_due_, way->second);
      send_part(partition, key.queue, to, now, turn, out);
    }
    next = queue->leaving().lower_bound({{to.value + 1}, 0, {}});
  }
}

void Service::send_part(Partition& partition, QueueId from, QueueId to, const Now& now, Turn& turn, Outbox& out) {
  if (catalog_.is_deleted(queue_of_target(to))) return keep_dead(partition, from, to, now, turn);
  const QueueInfo* source = catalog_.find_queue(from);
  const QueueInfo* target = catalog_.find_queue(queue_of_target(to));
  const PartitionInfo* there =
      target == nullptr ? nullptr
                        : catalog_.find_partition(place_of_part(*target, part_of_target(to), catalog_.partitions()));
  if (source == nullptr || there == nullptr || there->leader.empty()) return;  // it is tried again
  Queue& queue = partition.queue(from);
  auto shipped = std::make_shared<std::string>();
  std::size_t count = 0;
  std::vector<Lsn> damaged;
  for (auto each = queue.leaving().lower_bound({to, 0, {}});
       each != queue.leaving().end() && each->to == to && count < kTransferMessagesMax; ++each, ++count) {
    const Lsn lsn = each->lsn;
    std::string_view bytes;
    const auto visit = [&](Lsn at, std::string_view found, const Result<RecordView>& record) {
      if (at == lsn && record) bytes = found;
      if (at == lsn && !record) found_damage(partition, lsn, record.error(), now, out);
      if (at == lsn && !record) damaged.push_back(lsn);
      return false;
    };
    if (!records_.scan({partition.id(), lsn}, visit)) break;
    // What stands behind it may not overtake it: the other queue would take it for one that it has.
    if (bytes.empty() && !partition.replica().alone()) break;
    if (bytes.empty()) continue;
    if (!shipped->empty() && shipped->size() + bytes.size() > kTransferBytesMax) break;
    ship_record(*shipped, {lsn, encode_return_state(*queue.returned(lsn)), bytes});
  }
  for (const Lsn lsn : damaged) {
    if (partition.replica().alone()) queue.set_aside(lsn, false);  // nobody has another copy
  }
  if (shipped->empty()) return;
  PeerMessage message = partition.replica().message(TransferRecords{partition.id(), from, source->name, to});
  message.partition = there->id;
  message.epoch = there->epoch;
  send_peer({there->leader, std::move(message), std::move(shipped)}, out);
}

// The queue that they were to go to is gone. What was to go back is a message of this queue as before.
void Service::keep_dead(Partition& partition, QueueId from, QueueId to, const Now& now, Turn& turn) {
  if (!partition.replica().takes_appends()) return;
  Queue& queue = partition.queue(from);
  std::vector<Lsn> kept;
  queue.take_left(to, UINT64_MAX, kept);
  Returns returns;
  for (const Lsn lsn : kept) {
    returns.push_back({lsn, *queue.returned(lsn)});
    Move& move = returns.back().state.move;
    move = move.cause == MoveCause::kRedrive ? Move{} : Move{move.cause, {}};
  }
  append_returns(partition, from, std::move(returns), now, turn);
}

// This worker may lead both.
void Service::send_peer(PeerFrame frame, Outbox& out) {
  if (frame.to == worker_name_) {
    own_.push_back(std::move(frame));
  } else {
    out.peers.push_back(std::move(frame));
  }
}

void Service::hear_own(const Now& now, Turn& turn, Outbox& out) {
  for (PeerFrame& frame : std::exchange(own_, {})) {
    const std::string_view records = frame.records ? std::string_view(*frame.records) : std::string_view();
    if (handle_peer(frame.message, records, now, turn, out)) turn.kept_records.push_back(std::move(frame.records));
  }
}

void Service::take_transferred(Partition& partition, const TransferredRecords& transferred, const Now& now, Turn& turn,
                               Outbox& out) {
  const QueuePlace key{partition.id(), transferred.from};
  Queue* const queue = find_queue(key);
  if (queue == nullptr || !partition.replica().takes_appends()) return;
  std::vector<Lsn> left;
  queue->take_left(transferred.to, transferred.mark, left);
  Acks acks;
  for (const Lsn lsn : left) {
    const auto record = records_.read({partition.id(), lsn});
    if (record) {
      acks.push_back({lsn, static_cast<std::uint32_t>(record_bytes(record->header))});
    } else {
      queue->restore(lsn);  // it is asked again
      found_damage(partition, lsn, record.error(), now, out);
    }
  }
  if (!acks.empty()) partition.append_control(RecordType::kAcks, key.queue, std::move(acks), now, turn);
  ways_.erase({key, transferred.to});
  send_leaving(key, now, turn, out);
}

void Service::tick_transfers(const Now& now, Turn& turn, Outbox& out) {
  transfers_due_ = TimeMs{INT64_MAX};
  std::set<QueuePlace> due;
  for (auto way = ways_.begin(); way != ways_.end();) {
    if (way->second > now.steady) {
      transfers_due_ = std::min(transfers_due_, way->second);
      ++way;
    } else {
      due.insert(way->first.from);
      way = ways_.erase(way);
    }
  }
  for (const QueuePlace& key : due) send_leaving(key, now, turn, out);
}

void Service::end_transfers(PartitionId partition) {
  std::erase_if(ways_, [partition](const auto& way) { return way.first.from.partition == partition; });
}

// --- the queue that takes --------------------------------------------------------------------------------------------

// True: the turn has views into `records`.
bool Service::take_transfer(Partition& partition, const PeerMessage& message, const TransferRecords& transfer,
                            std::string_view records, const Now& now, Turn& turn) {
  const QueueId to = queue_of_target(transfer.to);
  const QueueInfo* queue = catalog_.find_queue(to);
  const bool ours = queue != nullptr && partition.replica().takes_appends() &&
                    part_at(*queue, partition.id(), catalog_.partitions()) == part_of_target(transfer.to);
  if (!ours || queue->settings.pause_send || is_full(now, records.size())) return false;  // it comes again
  std::vector<Partition::Moved> moved;
  std::uint64_t bytes = 0;
  while (!records.empty()) {
    // A full queue takes what it has room for, and the rest later.
    if (const Excess over = excess(partition, to, moved.size() + 1, bytes); over.messages + over.bytes > 0) break;
    const auto shipped = take_shipped_record(records);
    const auto state = shipped ? decode_return_state(shipped->state) : fail(Errc::kMalformed, "");
    const auto record =
        shipped ? read_record(shipped->bytes, {transfer.source, shipped->lsn}) : fail(Errc::kMalformed, "");
    if (!state || !record || record->header.type != RecordType::kMessage) return false;
    const std::uint64_t before = moved.empty() ? 0 : moved.back().mark;
    if (!state->move.is_set() || state->move.mark <= before) return false;
    bytes += record_bytes(record->header);
    moved.push_back({state->move.mark, record->header.priority, record->header.key,
                     moved_attributes(transfer, shipped->lsn, *state, *record), record->body});
  }
  if (moved.empty()) return false;
  const TransferredRecords answer{transfer.from, transfer.to, moved.back().mark};
  partition.append_moved(to, transfer_producer(transfer.source, transfer.from), std::move(moved), now, turn);
  partition.taken().push_back({partition.replica().end(), message.sender, transfer.source, answer});
  return true;
}

// A dead message says where it comes from; one that comes back does not any more.
std::string Service::moved_attributes(const TransferRecords& transfer, Lsn lsn, const ReturnState& state,
                                      const RecordView& record) {
  const std::string placed = message_id_text(transfer.source, lsn);
  const std::string_view kept = stored_id(record.attributes);
  const Origin origin{transfer.from_name,   move_cause_name(state.move.cause),
                      state.reason,         state.deliveries,
                      state.first_ms,       state.last_ms,
                      record.header.sent_ms};
  return pack_moved_attributes(record.attributes, kept.empty() ? placed : kept,
                               state.move.cause == MoveCause::kRedrive ? nullptr : &origin, payload_reader_);
}

void Service::release_taken(Partition& partition, Outbox& out) {
  auto& taken = partition.taken();
  for (; !taken.empty() && taken.front().end <= partition.applied(); taken.pop_front()) {
    PeerMessage message = partition.replica().message(taken.front().transferred);
    message.partition = taken.front().source;
    send_peer({taken.front().worker, std::move(message), nullptr}, out);
  }
}

// --- redrive ---------------------------------------------------------------------------------------------------------

// Dead messages are ready again; those that came from another queue go back there.
void Service::redrive(const Call& call) {
  std::vector<std::string_view> ids;
  constexpr std::string_view kNil = "\xc0";
  if (!call.request.payload.empty() && call.request.payload != kNil) {
    if (const auto decoded = decode_receipts(call.request.payload, payload_reader_, ids); !decoded)
      return refuse(call, decoded.error());
  }
  const auto after = header_.after.empty() ? Result<Lsn>(Lsn{}) : parse_message_id(header_.after, call.partition.id());
  if (!after) return refuse(call, after.error());
  if (!call.partition.replica().takes_appends()) return refuse(call, few_replicas());
  if (!call.partition.replica().delivers()) return refuse(call, not_ready());
  Redriven done;
  Queue* const queue = call.partition.find_queue(call.queue);
  if (queue != nullptr) redrive(call, *queue, *after, {ids.begin(), ids.end()}, done);
  append_returns(call.partition, call.queue, std::move(done.returns), call.now, call.turn);
  if (const auto next = next_part(call); next && done.next.empty()) done.next = message_id_text(*next, {});
  answer_later(call, encode_redriven({done.revived, done.moved, done.next}));
}

void Service::redrive(const Call& call, Queue& queue, Lsn after, const std::set<std::string, std::less<>>& ids,
                      Redriven& done) {
  const std::size_t most = header_.max == 0 ? kBatchMessagesMax : header_.max;
  const StatePage page = queue.ready_and_dead(after, kRedriveLooksMax);
  for (const Lsn lsn : page.lsns) {
    if (done.returns.size() == most) return;
    done.next = message_id_text(call.partition.id(), lsn);
    const auto record = records_.read({call.partition.id(), lsn});
    if (!record) found_damage(call.partition, lsn, record.error(), call.now, call.out);
    if (!record) continue;
    const std::string_view kept = stored_id(record->attributes);
    if (!ids.empty() && !ids.contains(kept.empty() ? std::string_view(done.next) : kept)) continue;
    redrive_one(queue, lsn, *record, done);
  }
  done.next = page.reached ? message_id_text(call.partition.id(), page.reached->lsn) : std::string();
}

void Service::redrive_one(Queue& queue, Lsn lsn, const RecordView& record, Redriven& done) {
  const ReturnState* earlier = queue.returned(lsn);
  if (earlier != nullptr && earlier->move.is_set()) {
    if (!queue.withdraw(lsn)) return;
    done.returns.push_back({lsn, {}});
    ++done.revived;
    return;
  }
  const QueueInfo* origin = catalog_.find_queue(origin_queue(record.attributes, payload_reader_));
  if (origin == nullptr || origin->id == record.header.queue || !queue.withdraw(lsn)) return;
  done.returns.push_back({lsn, as_it_was(earlier)});
  done.returns.back().state.move = {MoveCause::kRedrive, target_of(origin->id, record.header.key, lsn)};
  ++done.moved;
}

}  // namespace dmq
