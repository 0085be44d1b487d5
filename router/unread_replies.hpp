// How many bytes of large replies wait in this process for clients to read them, so that they can be bounded.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <unordered_map>

namespace dmq {

// Charges replies to clients. Belongs to one loop; only what charge() returned may be let go on any thread, also after
// this object is gone, because libzmq's thread and the end of its context do that.
//
// U1  A client's charges are at most `client_bytes_max` together, or they are one.
// U2  All charges are at most `bytes_max` together.
class UnreadReplies {
 public:
  using Charge = std::shared_ptr<const void>;  // ends when it is let go

  UnreadReplies(std::size_t client_bytes_max, std::size_t bytes_max);

  // As far as the client's own bound goes.
  bool has_room(const std::string& client, std::size_t bytes) const;
  // Null: one of the bounds would be passed.
  Charge charge(const std::string& client, std::size_t bytes);

  std::size_t bytes() const { return *all_; }
  std::size_t bytes_of(const std::string& client) const;
  std::size_t clients() const { return clients_.size(); }  // with charges, and some that had

 private:
  using Counter = std::atomic<std::size_t>;
  struct Ticket;
  void forget_idle();

  const std::size_t client_bytes_max_;
  const std::size_t bytes_max_;
  const std::shared_ptr<Counter> all_;
  std::unordered_map<std::string, std::shared_ptr<Counter>> clients_;
  std::size_t forget_at_;  // clients
};

}  // namespace dmq
