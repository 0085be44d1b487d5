// What a client sent and has not seen confirmed: batches, sequence numbers, repeats.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "dmq/message.hpp"
#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/payload.hpp"

namespace dmq {

struct ProducerLimits {
  std::size_t window = 1000;  // unconfirmed messages of all queues
  std::size_t window_bytes = std::size_t{64} << 20;
  std::size_t batch_messages = 1000;  // a batch is never larger; half a window makes it leave
  std::size_t batch_bytes = std::size_t{1} << 20;
  DurationMs request_timeout{5'000};  // without a reply for so long the link counts as lost
  DurationMs retry_for{30'000};       // from the first message of a batch to its failure
  DurationMs backoff_min{20};         // after the broker asked for a retry; doubles
  DurationMs backoff_max{1'000};
};

// One request to put on the wire. The views live until the core's next call; the payload as long as anyone holds it.
struct SendRequest {
  std::uint64_t id;
  std::string_view queue;
  std::string_view producer;  // empty: each message has a dedup id
  Sequence sequence;
  std::shared_ptr<const std::string> payload;
};

// A batch that is over. Empty `callbacks`: nobody asked; otherwise one per message, where some may be null.
struct BatchOutcome {
  std::vector<SendCallback> callbacks;
  std::size_t count = 0;
  std::optional<Failure> failure;  // empty: every message of the batch is stored
};

// The sending half of a client. Pure state: ids and times come in, requests and outcomes go out. Not thread-safe.
//
//   add --> GATHERED -- seal --> WAITING -- next_request --> IN FLIGHT -- reply --> outcome
//                                   ^------- link lost, retry -------'
//
// One stream per queue and lane: its own producer id, and sequences from 1 without a hole, in the order of add().
// Messages with a dedup id have a stream of their own, without a producer: the broker tells their repeats apart by that
// id.
//
// P1  A batch keeps its messages, its producer and its sequence in every repeat, so that the broker stores it once.
// P2  Repeats of a stream go out in order, all over the same link.
// P3  A batch whose try went unanswered is UNCERTAIN: it never changes its producer, so it is never stored twice.
// P4  A refused batch leaves a hole that the broker will not step over. The stream then DRAINS: what is in flight
//     gets its own answers; certain ones go out again under a new producer id, uncertain ones fail as unconfirmed.
//
// LIMIT: a stream (about 300 bytes) is kept for every queue that the client ever sent to.
class ProducerCore {
 public:
  // `producer` is unique among all clients of the broker, at most 40 bytes.
  ProducerCore(std::string producer, ProducerLimits limits);

  // Is there room for a body of so many bytes? An idle core has room for any body.
  bool has_room(std::size_t bytes) const;
  // `pairs` as pack_message_pairs gives them; `by_id`: with a dedup id. `more`: the batch may wait for the next
  // message.
  struct Message {
    std::string_view queue;
    std::string_view body;
    std::string_view pairs;
    bool by_id = false;
    std::string_view key{};  // by which the client chooses the lane
    std::uint8_t lane = 0;   // messages of one queue in different lanes keep no order
  };
  void add(const Message& message, SendCallback done, bool more, TimeMs now);
  // Nothing follows: what was added with `more` may leave.
  void end_of_input();

  // The next batch to put on the wire, in flight from now on under the id `next_id`, which is raised.
  std::optional<SendRequest> next_request(std::uint64_t& next_id, TimeMs now);
  // The link refused the request that next_request gave last: it waits again, as if never given.
  void take_back();

  // The answer to request `id`; empty when it is none of ours (any more) or the batch goes on waiting.
  // `outcomes` gets what is over. More than one when the answer decides the fate of others.
  bool on_reply(std::uint64_t id, const Error& answer, bool retry, TimeMs now, std::vector<BatchOutcome>& outcomes);
  // All that is in flight may be lost: it waits again, uncertain.
  void on_link_lost();
  // Gives up what was tried for too long.
  void on_time(TimeMs now, std::vector<BatchOutcome>& outcomes);

  // Has some request gone without an answer for too long?
  bool is_late(TimeMs now) const;
  std::optional<TimeMs> next_deadline() const;
  std::size_t unconfirmed() const { return unconfirmed_; }
  bool idle() const { return unconfirmed_ == 0; }
  void check_invariants() const;  // O(n); the tests call it after every step

 private:
  struct Batch {
    std::shared_ptr<const std::string> payload;
    std::vector<SendCallback> callbacks;
    std::size_t count = 0;
    Sequence first;             // 0: not numbered yet
    std::uint64_t request = 0;  // in flight under this id; 0: waiting
    TimeMs sent_at;             // of the latest try
    TimeMs give_up_at;
    bool uncertain = false;  // a try ended without an answer that says no
    int renumbered = 0;
  };
  struct Stream {
    std::string queue;
    bool by_id = false;
    std::uint8_t lane = 0;
    std::string producer;
    Sequence next{1};
    SendWriter gathered;
    std::vector<SendCallback> callbacks;  // of the gathered; empty until one is given
    TimeMs gathered_since;
    bool more = false;
    bool draining = false;
    bool active = false;  // listed in active_
    std::deque<Batch> batches;
    std::optional<TimeMs> resend_at;     // the broker asked to wait
    int tries = 0;                       // in a row, for the backoff
    std::optional<Failure> last_answer;  // why the broker asked for a retry
  };

  static Failure failure_of(const Error& error, bool retry);
  static Failure unconfirmed_failure(std::string_view queue, std::string_view why);
  Stream& stream_of(const Message& message);
  void consider_sealing(Stream& stream, bool reply_came);
  void seal(Stream& stream);
  void schedule_resend(Stream& stream, TimeMs now);
  void resend_if_due(Stream& stream, TimeMs now);
  bool on_out_of_sequence(Stream& stream, std::size_t index, const Error& answer, std::vector<BatchOutcome>& outcomes);
  void end_batch(Stream& stream, std::size_t index, std::optional<Failure> failure,
                 std::vector<BatchOutcome>& outcomes);
  void give_up(Stream& stream, std::vector<BatchOutcome>& outcomes);
  void renew_if_drained(Stream& stream);
  std::string producer_for(bool by_id);

  const std::string producer_;
  const ProducerLimits limits_;
  const std::size_t seal_count_;
  std::uint64_t producers_made_ = 0;
  std::size_t unconfirmed_ = 0;
  std::size_t unconfirmed_bytes_ = 0;
  std::map<std::tuple<std::string, bool, std::uint8_t>, std::unique_ptr<Stream>> streams_;  // by queue, by_id, lane
  std::vector<Stream*> active_;  // those with anything gathered, waiting or in flight
};

}  // namespace dmq
