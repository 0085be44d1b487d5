// The loop of a client: drives the producer core and the request table over the link, inside the caller's calls.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clients/cpp/heartbeat_table.hpp"
#include "clients/cpp/link.hpp"
#include "clients/cpp/producer_core.hpp"
#include "clients/cpp/renewal_table.hpp"
#include "clients/cpp/request_table.hpp"
#include "clients/cpp/subscription_table.hpp"
#include "dmq/client.hpp"
#include "protocol/header.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

// Says that a callback of the user's runs, which must not call what waits.
class InCallback {
 public:
  explicit InCallback(bool& flag) : flag_(flag), before_(std::exchange(flag, true)) {}
  ~InCallback() { flag_ = before_; }
  InCallback(const InCallback&) = delete;
  InCallback& operator=(const InCallback&) = delete;

 private:
  bool& flag_;
  const bool before_;
};

// Owned by a Client; leases know it weakly. Not thread-safe.
class ClientLoop : public std::enable_shared_from_this<ClientLoop> {
 public:
  explicit ClientLoop(ClientOptions options);

  // Waits while the window is full.
  void send(const ProducerCore::Message& message, SendCallback done, More more);
  // Starts a request; `header.id` is given here unless it has one. `wait`: how long the broker may take beyond the
  // usual.
  void start(RequestHeader header, std::shared_ptr<const std::string> payload, DurationMs wait,
             std::function<void(const Reply&)> done);
  // Starts a request and waits for its reply. Throws its failure.
  Reply ask(RequestHeader header, std::string payload = {});

  void receive(std::string_view queue, const ReceiveOptions& options, ReceiveCallback done);
  void subscribe(std::string_view queue, const SubscribeOptions& options, ReceiveCallback got);
  void unsubscribe(std::string_view queue);
  void unsubscribe_all();
  // Marks the leases as settled and starts the request. All must be of one queue. None held: `done` at once.
  void settle(RequestHeader header, Lease* leases, std::size_t count, SettleCallback done);

  // One round: send what is due, read what is there, otherwise wait for it until `until`. True: something came in.
  bool step(TimeMs until);
  // Steps until `done()` holds. False: `until` was reached first. Throws `interrupted`.
  bool run_until(const std::function<bool()>& done, TimeMs until);

  // A batch of leases has messages to give back; they leave with the next step. `now_or_never`: leave at once.
  void note_released(const std::shared_ptr<LeaseHolder>& holder, bool at_once);

  // A lease of a batch that is renewed has ended.
  void drop_renewal(std::uint64_t batch, std::string_view receipt) { renewals_.drop(batch, receipt); }

  // Is nothing under way? Parked receives count only `with_receives`.
  bool idle(bool with_receives) const;
  // From now on waiting is not interrupted: what remains is bounded and gives back what is held.
  void ignore_interrupt() { options_.interrupt_fd = -1; }
  // Consumers of this client are not kept alive any more.
  void stop_heartbeats() { heartbeats_.clear(); }
  // Ends every request with `closed`; nothing starts afterwards.
  void close();
  std::size_t unconfirmed() const { return producer_.unconfirmed(); }
  // The first failure of sends that had no callback, forgotten by this call.
  std::optional<Failure> take_unattended_failure() { return std::exchange(unattended_, std::nullopt); }
  MsgpackReader& reader() { return reader_; }
  const ClientOptions& options() const { return options_; }

 private:
  std::uint8_t lane_of(const ProducerCore::Message& message);
  std::uint64_t ask_key_partitions(std::string_view queue);
  void send_due(TimeMs now);
  bool read_replies(TimeMs now);
  void on_reply(std::string_view header, zmq::message_t payload, TimeMs now);
  void on_send_reply(const ReplyHeader& header, std::string_view payload, TimeMs now);
  void finish_batch(BatchOutcome& outcome, std::string_view payload);
  void finish(Request& request, Reply reply);
  void subscribe_due(TimeMs now);
  void on_push(std::uint64_t id, const ReplyHeader& header, zmq::message_t payload, TimeMs now);
  void hand_over_pushed(std::uint64_t id, const Reply& reply, bool give_back);
  void on_subscription_failed(std::uint64_t id, const Failure& failure);
  void leave(std::uint64_t id);
  void check_time(TimeMs now);
  void on_link_lost(TimeMs now);
  void give_back_released();
  std::vector<Lease> make_leases(std::string_view queue, const Reply& reply, bool held);
  void keep_leases(const std::vector<Lease>& leases, DurationMs lease, LostCallback on_lost);
  void renew_due(TimeMs now);
  void on_renewed(const Renewal& renewal, const Reply& reply);
  void tell_lost(const LostLeases& lost);
  void send_heartbeats(TimeMs now);
  Failure out_of_time(const Request& request) const;
  std::string unreachable_text() const;
  TimeMs next_deadline() const;

  ClientOptions options_;
  const std::string name_;  // of its producer and its subscriptions
  Link link_;
  ProducerCore producer_;
  RequestTable requests_;
  RenewalTable renewals_;
  SubscriptionTable subscriptions_;
  HeartbeatTable heartbeats_;
  MsgpackReader reader_;
  std::uint64_t next_id_ = 1;
  // Of each queue that messages with keys were sent to: `key_partitions`.
  // LIMIT: a queue that is deleted and made anew with more of them needs a new client.
  std::map<std::string, std::uint64_t, std::less<>> key_partitions_;
  std::vector<BatchOutcome> outcomes_;
  std::vector<std::shared_ptr<LeaseHolder>> released_;
  std::optional<Failure> unattended_;
  TimeMs time_checked_;
  TimeMs drained_at_;          // what is read from now on came after this
  bool send_refused_ = false;  // the link takes no more until it is writable again
  bool in_callback_ = false;
  bool closed_ = false;
};

}  // namespace dmq
