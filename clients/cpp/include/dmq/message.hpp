// Messages on their way out, and leases on messages that came in.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dmq/error.hpp"

namespace dmq {

// A message to send. The body is opaque bytes; header names are text, their values bytes. What is left empty is as the
// queue's settings say, or absent.
struct OutgoingMessage {
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  int priority = 0;  // 0 to 9: higher ones are received first
  // Not received before; one of both. The times are the broker's.
  std::optional<std::chrono::milliseconds> delay;
  std::optional<std::chrono::system_clock::time_point> deliver_at;
  // Not received later, counted from when the broker takes the message; 0: it does not expire, whatever the queue's
  // settings say.
  std::optional<std::chrono::milliseconds> ttl;
  // Short texts for the receiver, up to 255 bytes each; dmq does not look at them.
  std::string content_type;
  std::string reply_to;
  std::string correlation_id;
  std::string traceparent;  // W3C Trace Context
  // Messages of a queue with the same key are handed out one after the other, in the order in which the broker took
  // them: the next one when the last is acked or dead. Up to 255 bytes; empty: no order is kept.
  std::string key;
  // Of messages of a queue with the same one the broker takes one; QueueOptions::dedup says for how long. Up to 128
  // bytes; empty: each is taken. Messages with and without one keep no order between them.
  std::string dedup_id;
};

// What became of one message that was sent.
struct SendResult {
  std::string id;          // given by the broker; empty when `duplicate`
  bool duplicate = false;  // an earlier try, or another message with its dedup_id, had been stored already
  std::optional<Failure> failure;

  explicit operator bool() const { return !failure; }
};
using SendCallback = std::function<void(const SendResult&)>;

// A lease that was to be kept by ReceiveOptions::auto_extend and is over, or may be.
struct LostLease {
  std::string queue;
  std::string id;       // of the message
  std::string receipt;  // of the lease
  // stale_receipt: the broker says that the lease was over. Otherwise why it was not renewed while it lasted; it may
  // be over then, and an ack will tell.
  Failure failure;
};
using LostCallback = std::function<void(const LostLease&)>;

// How a message is given back.
enum class Nack {
  kFailed,    // the delivery counts, and the queue's retry settings hold
  kGiveBack,  // as if it had not been handed out
  kFatal,     // it can never be done: it is dead, and goes to the dead-letter queue
};

struct NackOptions {
  Nack kind = Nack::kFailed;
  std::optional<std::chrono::milliseconds> delay;  // until it is handed out again; empty: as the queue says. Not kFatal
  std::string reason;                              // up to 1,024 bytes of text; comes with later deliveries
};

// Where a message was that its queue gave up.
struct DeadLetter {
  std::string_view queue;
  std::string_view cause;   // "max_deliveries", "rejected" or "expired"
  std::string_view reason;  // that the last nack gave
  std::uint32_t deliveries = 0;
};

class LeaseHolder;  // one received batch: the bytes, and the way back to the client

// One received message, held for a limited time. Views stay valid as long as the Lease, also after it is settled
// and after the client is gone. The bytes of a whole receive are shared: one Lease kept keeps them all.
//
//   HELD -- ack, nack --> SETTLED
//    '-- destructor: released, so that the broker hands the message out again --^
//
// The destructor never acks. Not thread-safe, like the client it came from.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&& other) noexcept;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease();

  std::string_view body() const { return body_; }
  const std::vector<std::pair<std::string_view, std::string_view>>& headers() const { return headers_; }
  std::optional<std::string_view> header(std::string_view name) const;
  std::string_view id() const { return id_; }
  std::string_view receipt() const { return receipt_; }
  std::string_view queue() const;
  // How often the message was handed out, this time included.
  std::uint32_t deliveries() const { return deliveries_; }
  // Of earlier deliveries; empty: this is the first one.
  std::optional<std::chrono::system_clock::time_point> first_delivered_at() const { return first_delivered_at_; }
  std::optional<std::chrono::system_clock::time_point> last_delivered_at() const { return last_delivered_at_; }
  // That the last nack gave.
  std::string_view reason() const { return reason_; }
  // Of a message in a dead-letter queue.
  const std::optional<DeadLetter>& dead_letter() const { return dead_letter_; }
  std::chrono::system_clock::time_point sent_at() const { return sent_at_; }
  int priority() const { return priority_; }
  // After it the message is not handed out again; empty: it does not expire.
  std::optional<std::chrono::system_clock::time_point> expires_at() const { return expires_at_; }
  // Empty when the sender gave none.
  std::string_view content_type() const { return content_type_; }
  std::string_view reply_to() const { return reply_to_; }
  std::string_view correlation_id() const { return correlation_id_; }
  std::string_view traceparent() const { return traceparent_; }
  std::string_view key() const { return key_; }
  bool held() const { return held_; }
  // With ReceiveOptions::auto_extend: it could not be kept, so another consumer may have the message.
  bool lost() const;

  // Waits until the broker removed the message for good. Throws ClientError; stale_receipt: the lease was over.
  void ack();
  // Waits until the broker took it back; it is handed out again after `delay`, 0: as the queue says.
  void nack(std::chrono::milliseconds delay = std::chrono::milliseconds{0});
  void nack(const NackOptions& options);
  // Waits until the lease was renewed to last `lease` from now.
  void extend(std::chrono::milliseconds lease);

 private:
  friend class LeaseHolder;
  friend class ClientLoop;
  Lease() = default;
  void release() noexcept;

  std::shared_ptr<LeaseHolder> holder_;
  std::string_view body_;
  std::string_view id_;
  std::string_view receipt_;
  std::vector<std::pair<std::string_view, std::string_view>> headers_;
  std::chrono::system_clock::time_point sent_at_;
  std::optional<std::chrono::system_clock::time_point> expires_at_;
  std::optional<std::chrono::system_clock::time_point> first_delivered_at_;
  std::optional<std::chrono::system_clock::time_point> last_delivered_at_;
  std::optional<DeadLetter> dead_letter_;
  std::string_view reason_;
  std::string_view content_type_;
  std::string_view reply_to_;
  std::string_view correlation_id_;
  std::string_view traceparent_;
  std::string_view key_;
  int priority_ = 0;
  std::uint32_t deliveries_ = 1;
  bool held_ = false;
};

// What became of a receive: leases, none when the wait was over, or a failure.
struct ReceiveResult {
  std::vector<Lease> leases;
  std::optional<Failure> failure;
};
using ReceiveCallback = std::function<void(ReceiveResult)>;

// What became of a batch of acks, nacks or extensions.
struct SettleResult {
  std::size_t done = 0;
  std::size_t presumed =
      0;                  // of `done`: a repeat after a lost reply found the lease over; the broker's own word is lost
  std::size_t stale = 0;  // the lease was over before: another consumer has or had the message
  std::optional<Failure> failure;  // of the whole request
};
using SettleCallback = std::function<void(const SettleResult&)>;

}  // namespace dmq
