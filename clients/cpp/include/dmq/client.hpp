// libdmq: the C++ client of the dmq message queue. C++17 and the standard library are all that a user needs.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dmq/browse.hpp"
#include "dmq/error.hpp"
#include "dmq/message.hpp"
#include "dmq/value.hpp"

namespace dmq {

class ClientLoop;

// The I/O threads of ZeroMQ. A client makes its own; many clients in one process do better with one for all.
// Thread-safe; lives as long as the last client that uses it.
class Network;
std::shared_ptr<Network> make_network(int threads = 1);

struct ClientOptions {
  // Routers, "tcp://host:port" or "host:port". One is used at a time, the next one when it falls silent.
  std::vector<std::string> endpoints{"tcp://127.0.0.1:7310"};
  // Messages that send_async may leave unconfirmed before it waits, over all queues; and their bytes.
  std::size_t window = 1000;
  std::size_t window_bytes = std::size_t{64} << 20;
  // Without a reply for so long the client takes the next router and asks again.
  std::chrono::milliseconds request_timeout{5'000};
  // After so long a request fails for good.
  std::chrono::milliseconds retry_for{30'000};
  // How long the destructor waits for confirmations that are still to come.
  std::chrono::milliseconds linger{1'000};
  // When this descriptor becomes readable, calls that wait throw `interrupted`. -1: none. It is not read.
  int interrupt_fd = -1;
  std::shared_ptr<Network> network;
};

struct ReceiveOptions {
  std::size_t max = 1;                 // messages, at most 1,000
  std::size_t max_bytes = 0;           // sum of bodies; 0: the broker's default. The first one always comes.
  std::chrono::milliseconds wait{0};   // for the first message
  std::chrono::milliseconds lease{0};  // 0: the queue's own, or 30 s with auto_extend
  // At most once: messages are acked before they leave the broker. They come as leases that are settled.
  bool ack_on_delivery = false;
  // Up to 64 bytes that name this receive, the same when the program repeats it, as after its own restart: what the
  // first one got is given again, as long as its leases last. Empty: each gets other messages.
  std::string attempt;
  // Up to 64 bytes that name this consumer, for QueueOptions::max_leased_by_consumer and heartbeats. Empty: it has
  // none.
  std::string consumer;
  // So long the consumer is silent at the most; then its messages are given to others although their leases last. From
  // its first receive on the client tells that it is there each third of that, until it is closed, inside calls to it
  // as all that it does: a program that works for long calls poll() more often than that. 0: it says nothing of that.
  std::chrono::milliseconds heartbeat{0};
  // Renews each lease when half of it is over, until it is settled or destroyed, so that it may be short however long
  // the work takes. As all that the client does this happens inside calls to it: a program that works for long calls
  // poll() more often than that. A lease that is lost all the same is not renewed any more: `on_lost` is called, once
  // for each, and Lease::lost() is true.
  bool auto_extend = false;
  LostCallback on_lost;
};

struct SubscribeOptions {
  // At most so many messages that came are unsettled, and so many bytes (0: the broker's default): then nothing comes
  // until one is settled or its lease is over. To 10,000 and 64 MiB. A program that works on one message at a time
  // and wants the next to be there takes 2.
  std::uint64_t credit = 100;
  std::uint64_t credit_bytes = 0;
  // As in ReceiveOptions.
  std::chrono::milliseconds lease{0};
  std::string consumer;
  std::chrono::milliseconds heartbeat{0};
  bool auto_extend = false;
  LostCallback on_lost;
};

struct QueueOptions {
  std::chrono::milliseconds lease{0};  // of a receive that names none; 0: the broker's default
  // "in_sync" (the default): sends and acks are confirmed when all in-sync replicas have them on disk; "leader": when
  // the leader has, which is faster, and which a change of leader may undo. Empty: the broker's default.
  std::string confirm;
  // Of messages that do not say: not received before that, and not after that; 0: neither.
  std::chrono::milliseconds delay{0};
  std::chrono::milliseconds ttl{0};
  // Ten, priority 0 first, each from 1 to 100: of so many messages how many each priority gives while all have some.
  // Empty: higher priorities always go first.
  std::vector<int> priority_weights;
  // After so many deliveries that counted a message is dead; 0: never.
  std::uint64_t max_deliveries = 0;
  // How long a message waits after a delivery that failed, when its nack names no delay: "fixed" (or empty), "linear"
  // or "exponential" in the number of its deliveries, up to a limit (0: a year), and by up to so many percent shorter.
  std::string retry_backoff;
  std::chrono::milliseconds retry_delay{0};
  std::chrono::milliseconds retry_delay_max{0};
  int retry_jitter = 0;
  // The queue where dead and expired messages go; it is created when it is not there. Empty: dead ones stay.
  std::string dead_letter;
  // How much the queue holds, how large one body may be, and how many are leased at once; 0: no limit.
  std::uint64_t max_messages = 0;
  std::uint64_t max_bytes = 0;
  std::uint64_t max_message_bytes = 0;
  std::uint64_t max_leased = 0;
  std::uint64_t max_leased_by_consumer = 0;  // of each that names itself
  // Over how many partitions, and so workers, the queue is spread; 0: 1. Messages keep their order within a key and
  // within a client that gives no keys.
  std::uint64_t partitions = 0;
  std::uint64_t key_partitions = 0;  // of them, those of messages with keys: 1, 2, 4, ...; 0: as many as can be
  // A send to a full queue: "reject" (or empty: it fails with "queue_full"), "drop_oldest" or "dead_letter".
  std::string when_full;
  // What becomes of a message whose dedup_id another one of the queue had: "window" (or empty: it is not taken for a
  // while after the other was, 5 minutes unless `dedup_window` says more than 0), "while_present" (as long as the other
  // is in the queue), "replace" (it takes the place of the other, unless a consumer has that one).
  std::string dedup;
  std::chrono::milliseconds dedup_window{0};
  std::string owner;  // who cares for the queue, for people
};

// What is to be different; the rest of a queue's settings stays.
struct QueueChanges {
  std::optional<std::chrono::milliseconds> lease;
  std::optional<std::string> confirm;
  std::optional<std::chrono::milliseconds> delay;
  std::optional<std::chrono::milliseconds> ttl;      // 0: messages do not expire
  std::optional<std::vector<int>> priority_weights;  // empty: higher priorities always go first
  std::optional<std::uint64_t> max_deliveries;       // 0: no limit
  std::optional<std::string> retry_backoff;
  std::optional<std::chrono::milliseconds> retry_delay;
  std::optional<std::chrono::milliseconds> retry_delay_max;
  std::optional<int> retry_jitter;
  std::optional<std::string> dead_letter;     // empty: none
  std::optional<std::uint64_t> max_messages;  // 0: no limit, like the next three
  std::optional<std::uint64_t> max_bytes;
  std::optional<std::uint64_t> max_message_bytes;
  std::optional<std::uint64_t> max_leased;
  std::optional<std::uint64_t> max_leased_by_consumer;
  std::optional<std::uint64_t> partitions;  // not less than before
  std::optional<std::string> when_full;
  std::optional<std::string> dedup;
  std::optional<std::chrono::milliseconds> dedup_window;
  std::optional<std::string> owner;
  std::optional<bool> pause_send;     // sends are refused ("paused") until it is false again
  std::optional<bool> pause_receive;  // receives find nothing until it is false again
  std::uint64_t if_version = 0;       // only while the settings have this version ("version_conflict"); 0: in any case
};

struct RedriveOptions {
  std::size_t max = 0;           // messages, at most 1,000; 0: so many
  std::vector<std::string> ids;  // only these; empty: all
  std::string after;             // what the last call gave as `next`
};

// More::kYes: another message follows at once, so this one may wait for it instead of leaving alone. It leaves at the
// latest with the next call that waits or polls.
enum class More : bool { kNo, kYes };

// A connection to dmq. There is no thread behind it: replies are read, lost requests repeated and callbacks called
// only inside calls to the client. A program that does other work for longer calls poll() now and then. Not
// thread-safe: one client per thread. A callback may start further *_async calls but must not call what waits.
//
// Every message carries the client's producer id and a sequence number, so a repeated send is stored once.
// Calls that wait throw ClientError.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Waits for the confirmation. Returns the message's id, empty when an earlier try of it had been stored already.
  std::string send(std::string_view queue, std::string_view body);
  std::string send(std::string_view queue, const OutgoingMessage& message);

  // Copies the message into the batch of its queue and returns; waits only while the window is full, and once for each
  // queue that messages with keys go to, when it asks for the queue's partitions. A batch leaves
  // at once when nothing is under way to its queue, otherwise with the next reply or when half a window, 1,000
  // messages or 1 MiB are gathered. `done` is called once. A failure that has no callback is thrown by flush().
  void send_async(std::string_view queue, std::string_view body, SendCallback done = {}, More more = More::kNo);
  void send_async(std::string_view queue, const OutgoingMessage& message, SendCallback done = {},
                  More more = More::kNo);
  // How many messages are sent or gathered and not yet confirmed.
  std::size_t unconfirmed() const;

  // Waits until all sends, acks, nacks and extensions are answered. Throws the first failure that no callback took;
  // `timeout` when time is over (nothing is dropped, flush again).
  void flush(std::chrono::milliseconds timeout = std::chrono::milliseconds{60'000});
  // Makes progress. Returns when something came in, or after `timeout`. True: something came in.
  bool poll(std::chrono::milliseconds timeout = std::chrono::milliseconds{0});

  // Empty when the wait was over.
  std::vector<Lease> receive(std::string_view queue, const ReceiveOptions& options = {});
  // One request, so at most a minute of wait. Several may be under way.
  void receive_async(std::string_view queue, const ReceiveOptions& options, ReceiveCallback done);

  // From now on messages of the queue come to `got` by themselves, inside calls to the client, as far as the credit
  // goes; poll() waits for them. It goes on, whatever router or worker is lost, until unsubscribe(), or until `got` is
  // called with a failure. One subscription for each queue; throws `invalid_argument` for a second one.
  void subscribe(std::string_view queue, const SubscribeOptions& options, ReceiveCallback got);
  // `got` is not called any more; what is on its way goes back. What came stays with the program.
  void unsubscribe(std::string_view queue);

  // The consumer that received under this name is there. Returns when the broker has heard it.
  // The consumer that received under this name is there: for one whose receives name no ReceiveOptions::heartbeat.
  // Returns when the broker has heard it.
  void heartbeat(std::string_view queue, std::string_view consumer);

  // Settle a batch, all of one queue; leases that are settled already are passed over. The waiting ones return the
  // number of stale leases. An ack that was repeated after a lost reply and found stale counts as done: the first
  // try may have removed the message, and if another consumer has it, that is the at-least-once of a lost lease.
  std::size_t ack(std::vector<Lease>& leases);
  std::size_t nack(std::vector<Lease>& leases, std::chrono::milliseconds delay = std::chrono::milliseconds{0});
  std::size_t extend(std::vector<Lease>& leases, std::chrono::milliseconds lease);
  void ack_async(std::vector<Lease>& leases, SettleCallback done = {});
  void nack_async(std::vector<Lease>& leases, std::chrono::milliseconds delay, SettleCallback done = {});
  std::size_t nack(std::vector<Lease>& leases, const NackOptions& options);
  void nack_async(std::vector<Lease>& leases, const NackOptions& options, SettleCallback done = {});

  // Creating a queue again with the same settings succeeds. The maps that come back are described in
  // docs/protocol.md; keys may be added.
  Value create_queue(std::string_view name, const QueueOptions& options = {});
  Value update_queue(std::string_view name, const QueueChanges& changes);
  // Dead messages of this queue are ready again (`revived`), dead letters in it go back to where they came from
  // (`moved`). There is more to do as long as the map has `next`.
  Value redrive_queue(std::string_view name, const RedriveOptions& options = {});
  Value describe_queue(std::string_view name);
  // What is in a queue and what goes through it. Of many queues, asked side by side; those that are not there (any
  // more) are left out.
  Value queue_stats(std::string_view name);
  std::vector<Value> queue_stats(const std::vector<std::string>& names);
  // All queues whose names begin with `prefix`, page by page.
  std::vector<Value> list_queues(std::string_view prefix = {});
  // One page of messages; nothing is taken.
  BrowseResult browse(std::string_view queue, const BrowseOptions& options = {});
  // Only the broker's admin endpoint takes these.
  void delete_queue(std::string_view name);
  // Removes all messages that are in the queue now; how many. A reply that is lost is asked for again, and then it is
  // the number of those that came meanwhile.
  std::uint64_t purge_queue(std::string_view name);
  Value hello();
  // The round trip.
  std::chrono::microseconds ping();

  // Waits until everything under way is answered, receives too; what they bring is given back. Afterwards the client
  // sends nothing any more. Never throws; false when time was over first.
  bool close(std::chrono::milliseconds timeout) noexcept;

 private:
  std::shared_ptr<ClientLoop> loop_;
};

}  // namespace dmq
