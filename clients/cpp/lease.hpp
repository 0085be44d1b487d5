// What the leases of one receive share: the reply's bytes, and the way back to the client.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "dmq/message.hpp"
#include "protocol/header.hpp"
#include "protocol/payload.hpp"

namespace dmq {

class ClientLoop;

RequestHeader nack_header(const NackOptions& options);  // without a queue; its views point into `options`

// Lives as long as one of its leases, or until what they released was given back.
class LeaseHolder : public std::enable_shared_from_this<LeaseHolder> {
 public:
  LeaseHolder(std::weak_ptr<ClientLoop> loop, std::string queue, std::shared_ptr<const void> bytes)
      : loop_(std::move(loop)), queue_(std::move(queue)), bytes_(std::move(bytes)) {}

  // Turns decoded deliveries, whose views point into the bytes, into leases.
  std::vector<Lease> make_leases(std::vector<Delivery>& deliveries, bool held = true);
  const std::string& queue() const { return queue_; }
  // Throws ClientError when the client is gone.
  std::shared_ptr<ClientLoop> loop() const;

  // Its leases are renewed under this number, as long as they are held.
  void set_renewal(std::uint64_t renewal) { renewal_ = renewal; }
  void note_lost(std::string_view receipt) { lost_.emplace(receipt); }
  bool is_lost(std::string_view receipt) const { return lost_.contains(receipt); }

  void on_settled(std::string_view receipt);
  // Remembers a receipt to give back; the last lease of the batch takes all of them along.
  void on_released(std::string_view receipt);
  std::vector<std::string_view> take_released() { return std::exchange(released_, {}); }

 private:
  std::weak_ptr<ClientLoop> loop_;
  std::string queue_;
  std::shared_ptr<const void> bytes_;
  std::size_t held_ = 0;
  std::uint64_t renewal_ = 0;  // 0: none
  std::set<std::string, std::less<>> lost_;
  std::vector<std::string_view> released_;
};

}  // namespace dmq
