// The request core of a worker: requests and time in; a turn to commit and replies out.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/catalog.hpp"
#include "protocol/header.hpp"
#include "protocol/msgpack_reader.hpp"
#include "storage/attempts.hpp"
#include "storage/consumers.hpp"
#include "storage/outbox.hpp"
#include "storage/partition.hpp"
#include "storage/queue_meter.hpp"
#include "storage/range_comparison.hpp"
#include "storage/receivers.hpp"
#include "storage/record_source.hpp"
#include "storage/scrub.hpp"
#include "storage/turn.hpp"

namespace dmq {

struct ServiceLimits {
  std::uint64_t store_bytes = std::uint64_t{16} << 30;  // sends beyond it are refused; acks are not
  std::size_t receivers_max = 10'000;                   // receives that wait for a message, and subscriptions
  DurationMs producer_idle{3600 * 1000};                // then a producer's sequence is forgotten
  std::uint64_t scrub_bytes_per_s = 0;                  // read to find damage; 0: none
  DurationMs scrub_every{3600 * 1000};                  // from the begin of one round to the next
  PartitionLimits partition;
};

// All that a worker decides. Knows no socket, disk, thread or clock; bodies come through a RecordSource. Not
// thread-safe: it belongs to the worker's loop. Between two calls of committed() or failed() any number of turns may
// be gathered, but they are committed in the order in which they were gathered.
class Service {
 public:
  // `catalog` and `records` outlive the service.
  Service(std::string worker_name, ServiceLimits limits, const CatalogCopy& catalog, RecordSource& records);

  // From the store, at start, in this order: each partition's state, its producers and
  // dropped queues, its records by LSN. A record that
  // is not applied yet is read from `records`.
  void restore_partition(PartitionId id, const PartitionState& state, EpochTable epochs);
  void restore_producer(const ProducerKey& key, const ProducerState& state);
  void restore_dropped(const QueuePlace& place, Lsn below);
  void restore_record(RecordPlace place, const RecordHeader& header, const ReturnState& returned, const Now& now);
  void restore_damaged(RecordPlace place) { partition(place.partition).restore_damaged(place.lsn); }
  void restore_miscounted(PartitionId id);  // after its records

  // The catalog changed in one place, or anywhere (null): leads and follows the partitions that it gives to this
  // worker's session, drops deleted queues. Errors: internal: this worker must stop.
  Result<void> follow_catalog(SessionId session, const CatalogChange* change, const Now& now, Turn& turn, Outbox& out);

  // One request. What must be durable first goes into `turn`, with its reply; other replies are in `out`.
  // False: not for this worker; hand it back.
  bool handle(const Request& request, const Now& now, Turn& turn, Outbox& out);
  // A reply with messages that found no client: they are ready again, uncounted, and the client's subscriptions to
  // this queue are over. `router`: which one said so, or did not answer.
  void undeliverable(std::string_view router, const Envelope& envelope, std::string_view payload, const Now& now,
                     Outbox& out);

  // From another replica, with the records that go with it. True: `turn` has views into `records` now.
  bool handle_peer(const PeerMessage& message, std::string_view records, const Now& now, Turn& turn, Outbox& out);
  // metad's answer to a proposal or a report; it is in the catalog a little later. Errors: as for follow_catalog().
  Result<void> proposal_answered(const PartitionInfo& info, const Now& now, Turn& turn, Outbox& out);
  // To a word of damage or of a repair; proposal_answered() follows.
  void report_answered(const PartitionInfo& info, const Now& now, Outbox& out);

  // Rule 11: until then metad takes this worker for alive. A leader that is cut off stays safe, but delivers no more
  // what another may deliver by now. Where nobody else has the messages, nothing changes.
  void hold_lease(TimeMs until, const Now& now, Outbox& out);

  // The turn takes no more: what must be known after a restart is added, what is to be published is in `out`.
  void seal(Turn& turn, const Now& now, Outbox& out);
  // The outcome of a turn, oldest first; `next` is the one that is being gathered. Messages that became ready go to
  // waiting receives. After failed() the turns gathered since must fail too, because their LSNs follow; for a second
  // only acks and nacks are taken, so that a full store can be emptied.
  void committed(Turn& turn, const Now& now, Turn& next, Outbox& out);
  void failed(Turn& turn, const Error& error, const Now& now, Turn& next, Outbox& out);

  // Ends leases, wakes delayed messages, answers receives that waited long enough, forgets idle producers, keeps
  // replicas together.
  void tick(const Now& now, Turn& turn, Outbox& out);
  // When tick has something to do, on the steady clock; it may be early, never late.
  std::optional<TimeMs> next_deadline() const;

  // The worker ends: every waiting receive is answered, with nothing, and subscriptions are over.
  void end_receivers(Outbox& out);

  std::uint64_t stored() const { return stored_; }
  Partition& partition(PartitionId id);
  const std::map<PartitionId, Partition>& partitions() const { return partitions_; }

 private:
  // Messages that leave when it is committed that they do.
  struct HandedOver {
    QueuePlace from;
    ReplyTo to;
    RequestId id;
    std::string consumer;
    Replies replies;
    std::string payload;
    Epoch epoch;
    Acks acks;
    Leases leases;
  };
  // One request on its way through the handlers.
  struct Call {
    const Request& request;
    const Now& now;
    Partition& partition;
    QueueId queue;
    Turn& turn;
    Outbox& out;
    QueuePlace key() const { return {partition.id(), queue}; }
  };

  // service.cpp
  void refuse(const Call& call, const Error& error);
  void answer(const Call& call, std::string payload);
  void answer_later(const Call& call, std::string payload);
  void refuse_as_leader(const Call& call, const Error& error);
  void send(const Call& call);
  void append(const Call& call, const std::vector<const SendItem*>& good);
  void describe(const Call& call);
  QueueStatus status_of(const Call& call) const;
  void advance(Partition& partition, const Now& now, Turn& turn, Outbox& out);
  void release(Partition& partition, const Now& now, Outbox& out);
  void let_go(PendingReply& reply, const Now& now, Outbox& out);
  void scrub(const Now& now, Turn& turn, Outbox& out);
  void tick_replicas(const Now& now, const Turn& turn, Outbox& out);
  void watch(const Partition& partition);  // after all that may bring its replica's deadline nearer
  bool is_full(const Now& now, std::uint64_t more) const;
  Queue* find_queue(const QueuePlace& key);
  const QueueSettings& settings_of(QueueId queue) const;
  std::optional<PartitionId> next_part(const Call& call) const;

  // service_browse.cpp
  bool may_deliver(const Partition& partition, const Now& now) const;
  void browse(const Call& call);
  StatePage look_for(PagePlace after, std::size_t most, const Call& call);
  std::string show(const Call& call, PagePlace after, const StatePage& page);
  void purge(const Call& call);
  static void tell_purged(Partition& partition, const Partition::Applied::Purged& purged);

  // service_stats.cpp
  void stats(const Call& call);
  TimeMs oldest_ready(const QueuePlace& key);
  void count(const QueuePlace& key, Traffic kind, std::uint64_t messages, const Now& now);
  void count_later(const Call& call, Traffic kind, std::uint64_t messages);

  // service_delivery.cpp
  void receive(const Call& call);
  void subscribe(const Call& call);
  void unsubscribe(const Call& call);
  // Leases as many messages as it may have now; the payload of the reply, empty when nothing is ready.
  std::string deliver(const QueuePlace& key, Receiver& receiver, const Now& now, Outbox& out);
  // What is ready by now goes to those who wait before anybody else sees it.
  void wake(const QueuePlace& key, Queue& queue, const Now& now, Outbox& out);
  void hand_out(const QueuePlace& key, const Receiver& receiver, std::string payload, Outbox& out);
  bool repeat_attempt(const Call& call);
  void end_attempt(const Call& call);
  void log_handed_over(const Now& now, Turn& turn, Outbox& out);
  void log_one(HandedOver&& handed, const Now& now, Turn& turn, Outbox& out);
  void give_back_undelivered(const Now& now, Turn& turn);
  struct Share {
    std::uint64_t messages;
    std::uint64_t bytes;
  };
  Share may_lease(const QueuePlace& key, const Queue& queue, Receiver& receiver);
  bool has_all_it_may(const QueuePlace& key, Receiver& receiver);
  static Consumers::Lasts lasts(const Queue& queue);
  void end_silent(const Now& now);
  Result<void> hear_consumer(const Call& call);
  void serve(const QueuePlace& key, const Now& now, Outbox& out);
  void serve_all(PartitionId partition, const Now& now, Outbox& out);
  void end_receivers(PartitionId partition, Outbox& out);
  static void tell_end(std::vector<Receiver> receivers, Outbox& out);

  // service_settle.cpp
  void settle(const Call& call);
  ReturnState nacked(const Call& call, const Queue& queue, Lsn lsn, const Lease& lease) const;
  ReturnState failed(const QueuePlace& key, const Queue& queue, Lsn lsn, const Lease& lease, const Now& now) const;
  QueueId dead_letter_of(QueueId queue) const;
  QueueId target_of(QueueId queue, OrderingKey key, Lsn lsn) const;
  static void append_returns(Partition& partition, QueueId queue, Returns returns, const Now& now, Turn& turn);
  void extend(const Call& call);
  bool may_have_ended(const Call& call) const;
  static ReturnState as_it_was(const ReturnState* earlier);
  void expire_leases(const QueuePlace& key, Queue& queue, const Now& now, Turn& turn);
  void remove_expired(const QueuePlace& key, Queue& queue, const Now& now, Turn& turn, Outbox& out);
  void forget_producers(const Now& now, Turn& turn);
  void watch(const QueuePlace& key, const Queue& queue);

  // service_limits.cpp
  struct Excess {
    std::uint64_t messages = 0;
    std::uint64_t bytes = 0;
    bool moving = false;  // some are on their way to another queue
  };
  void check_items(const Call& call);
  Excess excess(const Partition& partition, QueueId queue, std::uint64_t messages, std::uint64_t bytes) const;
  Result<void> make_room(const Call& call, const std::vector<const SendItem*>& good,
                         const std::vector<std::size_t>& repeated);
  bool take_out_oldest(const Call& call, const Excess& over, QueueId dead_letter);
  void take_out_replaced(Partition& partition, const std::vector<Partition::Applied::Replaced>& replaced,
                         const Now& now, Turn& turn, Outbox& out);

  // service_transfer.cpp
  // From one queue to another.
  struct Way {
    QueuePlace from;
    QueueId to;
    auto operator<=>(const Way&) const = default;
  };
  // What one request redrives.
  struct Redriven {
    Returns returns;
    std::uint64_t revived = 0;
    std::uint64_t moved = 0;
    std::string next;  // the id behind which to go on; empty: all was looked at
  };
  void send_leaving(const QueuePlace& key, const Now& now, Turn& turn, Outbox& out);
  void send_part(Partition& partition, QueueId from, QueueId to, const Now& now, Turn& turn, Outbox& out);
  static void keep_dead(Partition& partition, QueueId from, QueueId to, const Now& now, Turn& turn);
  void send_peer(PeerFrame frame, Outbox& out);
  void hear_own(const Now& now, Turn& turn, Outbox& out);
  void take_transferred(Partition& partition, const TransferredRecords& transferred, const Now& now, Turn& turn,
                        Outbox& out);
  void tick_transfers(const Now& now, Turn& turn, Outbox& out);
  void end_transfers(PartitionId partition);
  bool take_transfer(Partition& partition, const PeerMessage& message, const TransferRecords& transfer,
                     std::string_view records, const Now& now, Turn& turn);
  std::string moved_attributes(const TransferRecords& transfer, Lsn lsn, const ReturnState& state,
                               const RecordView& record);
  void release_taken(Partition& partition, Outbox& out);
  void redrive(const Call& call);
  void redrive(const Call& call, Queue& queue, Lsn after, const std::set<std::string, std::less<>>& ids,
               Redriven& done);
  void redrive_one(Queue& queue, Lsn lsn, const RecordView& record, Redriven& done);

  // service_catalog.cpp
  Result<void> follow_partitions(SessionId session, const Now& now, Turn& turn, Outbox& out);
  Result<void> follow_partition(const PartitionInfo& info, SessionId session, const Now& now, Turn& turn, Outbox& out);
  void begin_leading(Partition& partition);
  void stop_leading(Partition& partition, Outbox& out);
  void note_deleted(QueueId queue, Outbox& out);
  void drop_deleted(const Now& now, Turn& turn);
  void forget_dropped();
  std::optional<PartitionId> next_removable() const;
  void remove_dropped(WriteBatch& effects);

  // service_peers.cpp
  void publish(Turn& turn, const Now& now, Outbox& out);
  enum class Gaps : std::uint8_t { kNone, kSettled };  // what is missing in a fetched range is settled
  struct ShippedRange {
    Lsn first;
    Lsn end;
    Gaps gaps;
  };
  bool is_of_other_session(const PartitionInfo& info, const Partition& partition) const;
  void found_damage(Partition& partition, Lsn lsn, const Error& error, const Now& now, Outbox& out);
  void compare(Partition& partition, const Partition::Applied::Compare& compare, const Now& now, Outbox& out);
  void take_hash(Partition& partition, const PeerMessage& message, const RangeHash& hash, const Now& now, Outbox& out);
  void found_difference(Partition& partition, const LogRange& range, const Now& now, Outbox& out);
  bool append_records(Partition& partition, const ShippedRange& range, std::string_view records, Turn& turn);
  void start_over(Partition& partition, const std::string& leader, Turn& turn, Outbox& out);
  bool take_snapshot(Partition& partition, const SnapshotRecords& part, std::string_view records, const Now& now,
                     Turn& turn, Outbox& out);
  void serve_fetch(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out);
  PeerFrame fetched(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out);
  PeerFrame snapshot(Partition& partition, const FetchToServe& fetch, const Now& now, Outbox& out);
  void pass_on(Partition& partition, ReplicaEffects& effects, const Now& now, Outbox& out);
  void note_missed(std::uint64_t records, const Now& now, Outbox& out);

  const std::string worker_name_;
  const ServiceLimits limits_;
  const CatalogCopy& catalog_;
  RecordSource& records_;
  MsgpackReader header_reader_;
  MsgpackReader payload_reader_;
  RequestHeader header_;
  std::vector<std::string_view> receipts_;
  std::vector<SendItem> items_;
  std::vector<Queue::Expired> expired_;
  std::map<PartitionId, Partition> partitions_;
  TimeMs lease_until_{INT64_MAX};
  std::set<PartitionId> replicated_;  // those that other workers hold too
  Receivers receivers_;
  TimeMs replicas_due_;  // none of them has a deadline before; it may be early, never late
  struct Metered {
    Now since;
    QueueMeter meter;
  };
  std::map<QueuePlace, Metered> meters_;           // of queues that were used since this process began
  std::set<std::pair<TimeMs, QueuePlace>> watch_;  // queues by their next deadline, each once
  std::map<QueuePlace, TimeMs> watched_;
  std::set<QueuePlace> deleted_;                                  // in the catalog, and not in the log yet
  TimeMs drops_due_;                                              // then those that could not be logged are tried again
  std::set<PartitionId> emptied_;                                 // they have rows of dropped queues
  std::map<std::pair<PartitionId, std::string>, Lsn> snapshots_;  // stamps of those under way
  Scrub scrub_;
  std::map<PartitionId, RangeComparison> comparisons_;  // of led partitions
  std::set<PartitionId> irreplaceable_;  // damaged copies that metad cannot do without, as far as was told
  std::map<Way, TimeMs> ways_;           // what is under way on each is sent again then
  TimeMs transfers_due_{INT64_MAX};      // none of them before; it may be early, never late
  Attempts attempts_;
  Consumers consumers_;
  Acks handed_over_acks_;                                    // of the last deliver()
  Leases handed_over_leases_;                                // also
  std::vector<HandedOver> handed_over_;                      // to be logged before anything else is
  std::vector<std::pair<QueuePlace, Receipt>> undelivered_;  // likewise
  std::vector<PeerFrame> own_;                               // to this worker, for the next tick
  TimeMs producers_due_;
  std::uint64_t missed_ = 0;  // records that leaders published in vain, since it was told
  TimeMs missed_due_;
  TimeMs full_until_;         // steady; sends are refused: the disk was full a moment ago
  std::uint64_t stored_ = 0;  // bytes of all records, LMDB's overhead included
};

}  // namespace dmq
