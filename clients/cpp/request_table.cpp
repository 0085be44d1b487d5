// See request_table.hpp.
#include "clients/cpp/request_table.hpp"

#include <algorithm>

namespace dmq {
namespace {

constexpr DurationMs kRetryPause{100};

}  // namespace

void RequestTable::add(Request request, TimeMs now) {
  request.reach_by = now + request.reach_within;
  requests_.push_back(std::move(request));
}

const Request* RequestTable::next_request(TimeMs now) {
  for (Request& request : requests_) {
    if (request.in_flight || now < request.not_before) continue;
    request.in_flight = true;
    request.sent_at = now;
    ++request.tries;
    return &request;
  }
  return nullptr;
}

void RequestTable::take_back(std::uint64_t id) {
  for (Request& request : requests_) {
    if (request.id != id) continue;
    request.in_flight = false;
    --request.tries;
  }
}

std::optional<Request> RequestTable::take(std::uint64_t id) {
  const auto at = std::find_if(requests_.begin(), requests_.end(), [id](const Request& each) { return each.id == id; });
  if (at == requests_.end()) return std::nullopt;
  Request request = std::move(*at);
  requests_.erase(at);
  return request;
}

void RequestTable::retry_later(Request request, TimeMs now) {
  request.in_flight = false;
  request.not_before = now + kRetryPause;
  request.reach_by = now + request.reach_within;
  requests_.push_back(std::move(request));
}

void RequestTable::on_link_lost(TimeMs now) {
  for (Request& request : requests_) {
    if (!request.in_flight) continue;
    request.in_flight = false;
    request.reach_by = now + request.reach_within;
  }
}

std::optional<Request> RequestTable::take_expired(TimeMs now) {
  const auto at =
      std::find_if(requests_.begin(), requests_.end(), [now](const Request& each) { return each.deadline() <= now; });
  return at == requests_.end() ? std::nullopt : take(at->id);
}

std::optional<Request> RequestTable::take_any() {
  return requests_.empty() ? std::nullopt : take(requests_.front().id);
}

bool RequestTable::is_late(TimeMs now) const {
  return std::any_of(requests_.begin(), requests_.end(),
                     [now](const Request& each) { return each.in_flight && each.sent_at + each.answer_within <= now; });
}

std::optional<TimeMs> RequestTable::next_deadline() const {
  std::optional<TimeMs> next;
  const auto consider = [&next](TimeMs at) { next = next ? std::min(*next, at) : at; };
  for (const Request& request : requests_) {
    consider(request.deadline());
    if (request.in_flight) {
      consider(request.sent_at + request.answer_within);
    } else if (request.not_before.value != 0) {
      consider(request.not_before);
    }
  }
  return next;
}

bool RequestTable::only_parked() const {
  return std::all_of(requests_.begin(), requests_.end(), [](const Request& each) { return each.parked; });
}

}  // namespace dmq
