// Replication: what is published, what other replicas say, and what is read from the log for them.
#include <algorithm>

#include "storage/log_keys.hpp"
#include "storage/service.hpp"

namespace dmq {
namespace {

constexpr DurationMs kSnapshotPatience{10'000};  // a follower that asks no more gives it up
constexpr DurationMs kMissedTold{1'000};
constexpr std::size_t kPartBytesMin = 64 << 10;  // of a snapshot's part, when many are under way

// What became of a message, as it is shipped.
std::string state_of(const Queue& queue, Lsn lsn) {
  const ReturnState* state = queue.returned(lsn);
  return state == nullptr ? std::string() : encode_return_state(*state);
}

// In a snapshot: the follower has it, and is told its checksum alone.
bool is_known(const ShippedRecord& shipped) { return shipped.bytes.size() <= kShippedChecksumBytes; }

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <class... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

}  // namespace

// --- publishing (rule 4) ---------------------------------------------------------------------------------------------

// The records of each led partition are encoded once: what is published is what is written.
void Service::publish(Turn& turn, const Now& now, Outbox& out) {
  std::map<PartitionId, std::vector<PutRecord*>> appended;
  for (PutRecord& put : turn.writes.records) {
    const Replica& replica = partitions_.at(put.place.partition).replica();
    const bool of_term = put.record.header.epoch == replica.epoch();  // the followers fetch older ones
    if (put.encoded.empty() && of_term && replica.leads() && !replica.alone())
      appended[put.place.partition].push_back(&put);
  }
  for (auto& [id, puts] : appended) {
    std::size_t bytes = 0;
    for (const PutRecord* put : puts) bytes += kShippedRecordOverhead + record_bytes(put->record.header);
    auto shipped = std::make_shared<std::string>();
    shipped->reserve(bytes);
    for (PutRecord* put : puts) {
      const std::size_t size = record_bytes(put->record.header);
      const std::size_t at = ship_record_space(*shipped, put->place.lsn, size);
      write_record(shipped->data() + at, put->place, put->record);
      put->encoded = std::string_view(*shipped).substr(at, size);
    }
    turn.kept_records.push_back(shipped);
    Replica& replica = partitions_.at(id).replica();
    const auto count = static_cast<std::uint32_t>(puts.size());
    PeerSend send = replica.publish(puts.front()->place.lsn, count, now.steady);
    out.peers.push_back({{}, std::move(send.message), std::move(shipped)});
  }
}

// --- from other replicas ---------------------------------------------------------------------------------------------

bool Service::handle_peer(const PeerMessage& message, std::string_view records, const Now& now, Turn& turn,
                          Outbox& out) {
  log_handed_over(now, turn, out);
  const auto found = partitions_.find(message.partition);
  if (found == partitions_.end() || message.cluster != catalog_.cluster().id) return false;
  Partition& core = found->second;
  Replica& replica = core.replica();
  const Lsn end = replica.end();
  ReplicaEffects effects;
  const bool kept = std::visit(
      Overloaded{
          [&](const AppendRecords& append) {
            return replica.take(message, append, now.steady, effects) &&
                   append_records(core, {end, replica.end(), Gaps::kNone}, records, turn);
          },
          [&](const FetchedRecords& fetched) {
            if (!replica.take(message, fetched, now.steady, effects)) return false;
            core.learn_producers(fetched.producers, turn);
            return append_records(core, {end, replica.end(), Gaps::kSettled}, records, turn);
          },
          [&](const TruncateRecords& truncate) {
            const auto outcome = replica.take(message, truncate, now.steady);
            if (outcome == Replica::Truncation::kCut) core.truncate(turn);
            if (outcome == Replica::Truncation::kDiverged) start_over(core, message.sender, turn, out);
            return false;
          },
          [&](const SnapshotRecords& part) {
            return replica.take(message, part, now.steady) && take_snapshot(core, part, records, now, turn, out);
          },
          [&](const TransferRecords& transfer) { return take_transfer(core, message, transfer, records, now, turn); },
          [&](const TransferredRecords& transferred) {
            take_transferred(core, transferred, now, turn, out);
            return false;
          },
          [&](const AckRecords& ack) {
            replica.take(message, ack, now.steady, effects);
            return false;
          },
          [&](const FetchRecords& fetch) {
            replica.take(message, fetch, now.steady, effects);
            return false;
          },
          [&](const RangeHash& hash) {
            take_hash(core, message, hash, now, out);
            return false;
          },
          [&](const RangeDiffers& differs) {
            if (replica.follows(message)) found_difference(core, {differs.first, differs.end}, now, out);
            return false;
          },
      },
      message.body);
  pass_on(core, effects, now, out);
  advance(core, now, turn, out);
  watch(core);
  return kept;
}

// Only an operator's forced leader lacks what others have as committed; what it lacks is lost, as the operator was
// told.
void Service::start_over(Partition& partition, const std::string& leader, Turn& turn, Outbox& out) {
  out.notices.push_back(
      "partition " + std::to_string(partition.id().value) + ": the leader " + leader +
      " lacks what is committed here, as one does that was forced to lead; the copy here is made anew");
  partition.start_over(turn);
}

// Rule 13: told once. It is never delivered or shipped, and never deleted: it stays in the log until it is repaired.
void Service::found_damage(Partition& partition, Lsn lsn, const Error& error, const Now& now, Outbox& out) {
  if (error.code == Errc::kUnavailable || lsn >= partition.replica().end()) return;
  if (!partition.note_damage(lsn, now.steady)) return;
  watch(partition);
  out.notices.push_back("a damaged record is not delivered and stays in the store" +
                        std::string(partition.replica().alone() ? "" : " until it is repaired from another worker") +
                        ": message " + message_id_text(partition.id(), lsn) + ": " + error.context);
}

// Called where the log says so, so that all replicas look at the same state. In an earlier term's record a leader may
// have been behind, and have fetched.
void Service::compare(Partition& partition, const Partition::Applied::Compare& compare, const Now& now, Outbox& out) {
  if (partition.replica().epochs().at(compare.at) != partition.replica().epoch()) return;
  RangeHasher hasher;
  bool good = true;
  const auto visit = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    if (lsn >= compare.range.end) return false;
    if (!record) {
      found_damage(partition, lsn, record.error(), now, out);
      return good = false;
    }
    const Queue* const queue = partition.find_queue(record->header.queue);
    if (record->header.type == RecordType::kMessage && queue != nullptr && queue->holds(lsn))
      hasher.add(lsn, bytes, state_of(*queue, lsn));
    return true;
  };
  if (!records_.scan({partition.id(), compare.range.first}, visit) || !good) return;
  const Replica& replica = partition.replica();
  if (replica.leads()) {
    comparisons_[partition.id()].begin(compare.at, compare.range, hasher.finish());
  } else if (replica.role() == Replica::Role::kFollowing) {
    out.peers.push_back({replica.set().leader, replica.message(RangeHash{compare.at, hasher.finish()}), nullptr});
  }
}

void Service::take_hash(Partition& partition, const PeerMessage& message, const RangeHash& hash, const Now& now,
                        Outbox& out) {
  const Replica& replica = partition.replica();
  if (!replica.leads() || message.epoch != replica.epoch() || !lists(replica.set().in_sync, message.sender)) return;
  std::vector<std::string> others = replica.set().in_sync;
  std::erase(others, worker_name_);
  const auto doubt = comparisons_[partition.id()].take(message.sender, hash.at, hash.hash, others);
  if (!doubt) return;
  for (const std::string& name : doubt->followers) {
    out.peers.push_back({name, replica.message(RangeDiffers{doubt->range.first, doubt->range.end}), nullptr});
  }
  if (doubt->leader) found_difference(partition, doubt->range, now, out);
}

// It is repaired as a damaged copy is (rule 13).
void Service::found_difference(Partition& partition, const LogRange& range, const Now& now, Outbox& out) {
  if (!partition.note_damage(range.first, now.steady)) return;
  watch(partition);
  out.notices.push_back("partition " + std::to_string(partition.id().value) + ": between the messages " +
                        message_id_text(partition.id(), range.first) + " and " +
                        message_id_text(partition.id(), range.end) +
                        " the copy here is not what other workers have; it is compared with theirs and repaired");
}

// The replica core has taken the range already. A record that is damaged, or missing where none may be, is as one that
// never came: the end goes back, and the next fetch brings it again (rule 13).
bool Service::append_records(Partition& partition, const ShippedRange& range, std::string_view records, Turn& turn) {
  const auto [first, end, gaps] = range;
  Lsn last{first.value - 1};
  bool good = true;
  while (good && !records.empty()) {
    const auto shipped = take_shipped_record(records);
    const bool follows = shipped && (gaps == Gaps::kNone ? shipped->lsn.value == last.value + 1 : shipped->lsn > last);
    good = follows && shipped->lsn < end && partition.append_encoded(shipped->lsn, shipped->bytes, turn).has_value();
    if (good) last = shipped->lsn;
  }
  if (gaps == Gaps::kNone && last.value + 1 != end.value) good = false;
  if (!good) {
    partition.replica().give_back(Lsn{last.value + 1});
    if (partition.replica().end() <= first) return false;
  }
  partition.extend(turn);
  return true;
}

void Service::pass_on(Partition& partition, ReplicaEffects& effects, const Now& now, Outbox& out) {
  for (PeerSend& send : effects.sends) out.peers.push_back({std::move(send.to), std::move(send.message), nullptr});
  for (AlterInSync& proposal : effects.proposals) out.proposals.push_back(std::move(proposal));
  for (const ResignLeader& resignation : effects.resignations) out.resignations.push_back(resignation);
  for (const ReportUnclean& report : effects.reports) out.reports.push_back(report);
  for (const FetchToServe& fetch : effects.fetches) serve_fetch(partition, fetch, now, out);
  if (effects.missed > 0) note_missed(effects.missed, now, out);
  effects = {};
}

// Once a second at most; what is missed then is told with what follows.
void Service::note_missed(std::uint64_t records, const Now& now, Outbox& out) {
  missed_ += records;
  if (now.steady < missed_due_) return;
  missed_due_ = now.steady + kMissedTold;
  out.remarks.push_back(std::to_string(std::exchange(missed_, 0)) +
                        " records that leaders published did not arrive here in time and are fetched; workers whose " +
                        "followers are slow can keep more of them (--log-backlog)");
}

Result<void> Service::proposal_answered(const PartitionInfo& info, const Now& now, Turn& turn, Outbox& out) {
  const auto found = partitions_.find(info.id);
  if (found == partitions_.end() || is_of_other_session(info, found->second)) return {};
  return follow_partition(info, found->second.replica().session(), now, turn, out);
}

// Of a session that this core has not heard of: the catalog will tell of both, or the term could not be led.
bool Service::is_of_other_session(const PartitionInfo& info, const Partition& partition) const {
  return info.leader == worker_name_ && info.leader_session != partition.replica().session();
}

void Service::report_answered(const PartitionInfo& info, const Now& now, Outbox& out) {
  const auto found = partitions_.find(info.id);
  if (found == partitions_.end() || is_of_other_session(info, found->second)) return;
  found->second.replica().judged(now.steady);
  const bool unclean = info.leader == worker_name_ && found->second.replica().unclean();
  if (unclean && irreplaceable_.insert(info.id).second) {
    out.notices.push_back("partition " + std::to_string(info.id.value) +
                          ": the copy here is damaged, and no worker that is there has another complete one: what of "
                          "it is good is served, until one comes back");
  } else if (!unclean) {
    irreplaceable_.erase(info.id);
  }
}

// --- for other replicas (rule 6) -------------------------------------------------------------------------------------

void Service::serve_fetch(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out) {
  if (partition.replica().doubtful()) return;  // it asks again
  const bool goes_on = fetch.fetch.resume.value != 0;
  const bool behind = fetch.fetch.end < partition.trimmed() || goes_on;
  // What this replica wrote alone and has not on its disk yet, for all that it knows: the follower asks again. The
  // effects may be read already, and a crash could undo them.
  if (behind && ((!goes_on && fetch.fetch.end >= partition.applied()) || partition.has_stored_effects())) return;
  PeerFrame answer = behind ? snapshot(partition, fetch, now, out) : fetched(partition, fetch, now, out);
  if (answer.to.empty()) return;  // the log cannot be read now; the follower asks again
  answer.message.session = fetch.session;
  comparisons_[partition.id()].served(fetch.to, partition.applied());
  out.peers.push_back(std::move(answer));
}

PeerFrame Service::fetched(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out) {
  const Replica& replica = partition.replica();
  FetchedRecords answer;
  answer.nonce = fetch.fetch.nonce;
  answer.first = fetch.fetch.end;
  answer.end = answer.leader_end = replica.end_on_disk();
  answer.prev_epoch = replica.epochs().at(Lsn{answer.first.value - 1});
  answer.commit = replica.commit();
  answer.trim = partition.trimmed();
  auto shipped = std::make_shared<std::string>();
  std::uint64_t count = 0;
  bool good = true;
  const auto visit = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    if (lsn >= answer.leader_end) return false;
    if (!record) {
      found_damage(partition, lsn, record.error(), now, out);
      return good = false;
    }
    if (!shipped->empty() && shipped->size() + bytes.size() > limits_.partition.fetch_bytes_max) {
      answer.end = lsn;
      return false;
    }
    ship_record(*shipped, {lsn, {}, bytes});
    ++count;
    return true;
  };
  if (!records_.scan({partition.id(), answer.first}, visit) || !good) return {};
  // A message that is gone cannot tell who sent it.
  if (count < answer.end.value - answer.first.value) answer.producers = partition.producers().since(answer.first);
  for (const EpochStart& start : replica.epochs().starts()) {
    if (start.first >= answer.first && start.first < answer.end) answer.epochs.push_back(start);
  }
  return {fetch.to, replica.message(std::move(answer)), std::move(shipped)};
}

// What lives below the stamp, a part for each fetch. Messages that are settled meanwhile are settled again by the
// records behind the stamp, which are held until the follower has them.
PeerFrame Service::snapshot(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out) {
  const Replica& replica = partition.replica();
  const auto key = std::pair(partition.id(), fetch.to);
  const bool begins = fetch.fetch.resume.value <= 1 || !snapshots_.contains(key);
  if (begins) snapshots_[key] = partition.applied();
  SnapshotRecords part;
  part.nonce = fetch.fetch.nonce;
  part.stamp = snapshots_.at(key);
  part.first = begins ? Lsn{1} : fetch.fetch.resume;
  part.end = part.stamp;
  partition.hold_trim(part.stamp, now.steady + kSnapshotPatience);
  auto shipped = std::make_shared<std::string>();
  const Lsn whole = fetch.fetch.whole.value == 0 ? fetch.fetch.end : std::min(fetch.fetch.whole, fetch.fetch.end);
  // Parts of all partitions wait behind each other on their way; together they must arrive before they are asked for
  // again, or none is ever taken.
  const std::size_t bytes_max =
      std::max(limits_.partition.fetch_bytes_max / std::max<std::size_t>(snapshots_.size(), 1),
               std::min(kPartBytesMin, limits_.partition.fetch_bytes_max));
  std::size_t count = 0;
  bool good = true;
  const auto visit = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    if (lsn >= part.stamp) return false;
    if (!record) {
      found_damage(partition, lsn, record.error(), now, out);
      return good = false;
    }
    if (record->header.type != RecordType::kMessage) return true;
    const Queue* const queue = partition.find_queue(record->header.queue);
    if (queue == nullptr || !queue->holds(lsn)) return true;  // settled, and the disk does not show it yet
    if (count++ == limits_.partition.snapshot_records_max ||
        (!shipped->empty() && shipped->size() + bytes.size() > bytes_max)) {
      part.end = lsn;
      return false;
    }
    const std::string_view sent = lsn < whole ? bytes.substr(0, kShippedChecksumBytes) : bytes;
    ship_record(*shipped, {lsn, state_of(*queue, lsn), sent});
    return true;
  };
  if (!records_.scan({partition.id(), part.first}, visit) || !good) return {};
  if (part.end == part.stamp) {
    for (const EpochStart& start : replica.epochs().starts()) {
      if (start.first < part.stamp) part.epochs.push_back(start);
    }
    part.producers = partition.producers().since({});
    snapshots_.erase(key);
  }
  return {fetch.to, replica.message(std::move(part)), std::move(shipped)};
}

// One part, taken only when all of it is there: each live message whole, or here with the leader's checksum. Otherwise
// the part is fetched again, whole from the first record on that is no good here (rule 13).
bool Service::take_snapshot(Partition& partition, const SnapshotRecords& part, std::string_view records, const Now& now,
                            Turn& turn, Outbox& out) {
  // What is to be compared with is not on the disk yet, or on its way from there: parts of an earlier snapshot,
  // messages that were settled, though the leader does not know.
  if (part.first.value == 1 && !partition.is_at_rest(turn)) {
    partition.replica().fetch_later(now.steady);
    return false;
  }
  struct Live {
    ShippedRecord shipped;
    ReturnState returned;
    std::optional<RecordView> record;  // of what came whole; of what is here the header alone means something
    bool was_here = false;
  };
  std::vector<Live> live;
  while (!records.empty()) {
    const auto shipped = take_shipped_record(records);
    if (!shipped || shipped->lsn < part.first || shipped->lsn >= part.end) return false;
    const auto returned = decode_return_state(shipped->state);
    if (!returned) return false;
    live.push_back({*shipped, *returned});
    if (is_known(*shipped)) continue;
    const auto record = read_record(shipped->bytes, {partition.id(), shipped->lsn});
    if (!record) return false;
    live.back().record = *record;
  }
  std::vector<Lsn> gone;
  std::size_t next = 0;
  const auto compare = [&](Lsn lsn, std::string_view bytes, const Result<RecordView>& record) {
    if (lsn >= part.end) return false;
    if (!record) found_damage(partition, lsn, record.error(), now, out);
    while (next < live.size() && live[next].shipped.lsn < lsn) ++next;
    if (next == live.size() || live[next].shipped.lsn != lsn) {
      gone.push_back(lsn);
      return true;
    }
    live[next].was_here = true;
    if (is_known(live[next].shipped) && record && bytes.starts_with(live[next].shipped.bytes)) {
      live[next].record = *record;
    }
    return true;
  };
  if (!records_.scan({partition.id(), part.first}, compare)) return false;
  for (const Live& each : live) {
    if (each.record) continue;
    partition.replica().fetch_whole(each.shipped.lsn, now.steady);
    return false;
  }
  if (part.first.value == 1) partition.begin_snapshot(turn);
  for (const Lsn lsn : gone) {
    turn.effects.removals.push_back({partition.id(), lsn});
    turn.effects.returns[{partition.id(), lsn}] = {};
  }
  for (const auto& [shipped, returned, record, was_here] : live) {
    if (!is_known(shipped)) {
      turn.writes.records.push_back({{partition.id(), shipped.lsn}, *record, shipped.bytes});
      turn.stored_bytes += stored_bytes(shipped.bytes.size());
    }
    partition.restore_message(shipped.lsn, record->header, returned, now);
    // A record that was not here has no row that could be an old one.
    if (was_here || !returned.is_empty()) turn.effects.returns[{partition.id(), shipped.lsn}] = returned;
  }
  partition.replica().snapshot_taken(part, now.steady);
  if (part.end == part.stamp) {
    for (const SnapshotProducer& producer : part.producers) {
      const ProducerKey key{partition.id(), producer.queue, producer.name};
      const ProducerState state{producer.last, producer.used_ms, producer.place};
      partition.producers().restore(key, state);
      turn.effects.producers[key] = state;
    }
    partition.end_snapshot(turn);
  } else {
    partition.extend_snapshot(turn);
  }
  return true;
}

}  // namespace dmq
