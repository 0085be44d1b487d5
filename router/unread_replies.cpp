// Counters that outlive their owner, and the forgetting of clients that have read everything.
#include "router/unread_replies.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr std::size_t kForgetAtLeast = 64;  // clients

}  // namespace

struct UnreadReplies::Ticket {
  Ticket(std::shared_ptr<Counter> of_client, std::shared_ptr<Counter> of_all, std::size_t of_bytes)
      : client(std::move(of_client)), all(std::move(of_all)), bytes(of_bytes) {
    *client += bytes;
    *all += bytes;
  }
  Ticket(const Ticket&) = delete;
  Ticket& operator=(const Ticket&) = delete;
  ~Ticket() {
    *client -= bytes;
    *all -= bytes;
  }

  const std::shared_ptr<Counter> client;
  const std::shared_ptr<Counter> all;
  const std::size_t bytes;
};

UnreadReplies::UnreadReplies(std::size_t client_bytes_max, std::size_t bytes_max)
    : client_bytes_max_(client_bytes_max),
      bytes_max_(bytes_max),
      all_(std::make_shared<Counter>(0)),
      forget_at_(kForgetAtLeast) {}

std::size_t UnreadReplies::bytes_of(const std::string& client) const {
  const auto found = clients_.find(client);
  return found == clients_.end() ? 0 : found->second->load();
}

bool UnreadReplies::has_room(const std::string& client, std::size_t bytes) const {
  const std::size_t unread = bytes_of(client);
  return unread == 0 || unread + bytes <= client_bytes_max_;
}

UnreadReplies::Charge UnreadReplies::charge(const std::string& client, std::size_t bytes) {
  if (*all_ + bytes > bytes_max_ || !has_room(client, bytes)) return nullptr;
  if (clients_.size() >= forget_at_) forget_idle();
  auto& counter = clients_[client];
  if (counter == nullptr) counter = std::make_shared<Counter>(0);
  return std::make_shared<const Ticket>(counter, all_, bytes);
}

// Each time as many have come as stayed the last time: cheap on average, and never more than twice those with charges.
void UnreadReplies::forget_idle() {
  std::erase_if(clients_, [](const auto& entry) { return entry.second->load() == 0; });
  forget_at_ = std::max(kForgetAtLeast, 2 * clients_.size());
}

}  // namespace dmq
