// The clients of a simulated cluster: producers that retry, producers that do not, and consumers of every habit.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "protocol/payload.hpp"
#include "tests/sim/checker.hpp"
#include "tests/sim/router.hpp"

namespace dmq::sim {

struct QueueName {
  QueueId id;
  std::string name;
  QueueSettings settings;  // at its creation
};

class Clients {
 public:
  using Send = std::function<void(std::size_t router, std::string client, ClientFrames frames)>;

  Clients(World& world, Checker& checker, Send send) : world_(world), checker_(checker), send_(std::move(send)) {}

  void begin(std::vector<QueueName> queues, std::size_t producers, std::size_t consumers);
  // No new messages, and from now on consumers ack at once all that they get.
  void set_options() { with_options_ = true; }     // messages have priorities, delays, and times to live
  void set_keys() { with_keys_ = true; }           // most messages have an ordering key
  void set_dedup() { with_dedup_ = true; }         // those of anonymous producers have dedup ids, and are sent again
  void set_on_delivery() { on_delivery_ = true; }  // some receives ack what they get
  void set_push() { with_push_ = true; }           // half of the consumers subscribe
  void set_attempts() { with_attempts_ = true; }   // receives are repeated with their attempt id; consumers are silent
  void set_spread() { spread_ = true; }            // some queues have several partitions
  void set_dead_letters();                         // consumers reject messages, and operators redrive them
  void drain();
  // One more message to each queue.
  void probe();
  bool all_confirmed() const;
  const QueueName& some_queue() { return queues_[static_cast<std::size_t>(world_.random.below(queues_.size()))]; }
  // Once, whatever becomes of it.
  void purge(const QueueName& queue);
  // A queue was deleted: its producers and consumers go on with another one.
  void move(QueueId from, const QueueName& to);

  // False: the client is gone.
  bool take_reply(const ClientFrames& reply, Moment sent);
  void set_vanishing(double probability) { vanishing_ = probability; }
  // After so long a worker may forget a producer, and some rest that long.
  void set_producer_idle(std::int64_t ms) { producer_idle_ms_ = ms; }

 private:
  struct Producer {
    std::string name;  // empty: anonymous
    QueueName queue;
    Sequence next{1};
    std::vector<MessageIndex> batch;  // under way
    bool once = false;                // a probe: one batch and no more
    std::uint64_t attempt = 0;
    bool by_id = false;          // its messages have dedup ids; it has no name
    std::int64_t begun = 0;      // when the batch was first sent
    std::int64_t confirmed = 0;  // that of the last one that was confirmed
  };
  struct Consumer {
    QueueName queue;
    std::uint64_t attempt = 0;
    std::string repeats;           // its attempt id, as long as it has no answer; empty: none
    std::uint64_t subscribed = 0;  // the id of its subscription; 0: it receives
    std::int64_t lease_ms = 0;     // of that
  };
  struct SendAsked {
    std::size_t producer;
    std::vector<MessageIndex> batch;
  };
  struct ReceiveAsked {
    std::size_t consumer;
    std::int64_t lease_ms;
    std::uint64_t attempt;
    std::int64_t least_ms;  // that the lease lasts
    bool on_delivery = false;
    std::string name;  // its attempt id: it may get what another receive got; empty: none
  };
  // Of one subscription, whatever is asked for it.
  struct SubscribeAsked {
    std::size_t consumer;
    QueueName queue;
    std::int64_t lease_ms;
  };
  struct Held {
    MessageIndex message;
    std::string receipt;
  };
  struct AckAsked {
    std::vector<Held> held;
  };
  struct PurgeAsked {
    QueueId queue;
    std::uint64_t mark;
  };
  struct RedriveAsked {
    std::string queue;
  };
  struct OtherAsked {};
  using Asked = std::variant<SendAsked, ReceiveAsked, SubscribeAsked, AckAsked, PurgeAsked, RedriveAsked, OtherAsked>;

  static bool repeats(const Producer& producer) { return producer.by_id || !producer.name.empty(); }
  void ask(RequestHeader header, std::string payload, Asked asked);
  void pass_on(const RequestHeader& header, std::string payload);
  void produce(std::size_t producer);
  void begin_anew(Producer& producer) const;
  MessageOptions some_options();
  std::string some_key(const Producer& producer);
  std::int64_t patience(std::int64_t least, std::int64_t most) const;  // with an answer, ms
  std::int64_t rest_ms() const;
  void send_batch(std::size_t producer);
  void receive(std::size_t consumer);
  void name_itself(std::size_t consumer, RequestHeader& header);
  void subscribe(std::size_t consumer);
  void redrive();
  void redrive(const std::string& queue, std::string_view after);
  void answered(const RedriveAsked& asked, const ClientFrames& reply);
  void nack(const QueueName& queue, Held held);
  void settle(const QueueName& queue, Op op, std::vector<Held> held);
  void treat(const QueueName& queue, std::vector<Held> held, std::int64_t lease_ms);
  void answered(const SendAsked& asked, const ReplyHeader& header, const ClientFrames& reply);
  void answered(const ReceiveAsked& asked, const ReplyHeader& header, const ClientFrames& reply, Moment sent);
  void answered(const SubscribeAsked& asked, const ReplyHeader& header, const ClientFrames& reply, Moment sent);
  std::vector<Held> take_messages(const ClientFrames& reply, std::optional<std::int64_t> lease_ms, bool again,
                                  Moment sent);
  void answered(const AckAsked& asked, const ReplyHeader& header, const ClientFrames& reply);

  World& world_;
  Checker& checker_;
  Send send_;
  MsgpackReader reader_;
  std::vector<QueueName> queues_;
  std::vector<Producer> producers_;
  std::vector<Consumer> consumers_;
  std::map<std::uint64_t, Asked> asked_;
  std::uint64_t last_id_ = 0;
  std::map<std::string, int> attempts_;            // how often each was asked
  std::map<std::string, std::vector<Held>> kept_;  // of each queue, to be acked together with others
  bool draining_ = false;
  bool with_options_ = false;
  bool with_keys_ = false;
  bool with_dedup_ = false;
  bool on_delivery_ = false;
  bool with_push_ = false;
  bool with_attempts_ = false;
  bool with_dead_letters_ = false;
  bool spread_ = false;
  double vanishing_ = 0;
  std::int64_t producer_idle_ms_ = INT64_MAX;
};

}  // namespace dmq::sim
