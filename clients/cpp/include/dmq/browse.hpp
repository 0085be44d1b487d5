// Looking at a queue's messages without taking them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dmq {

struct BrowseOptions {
  std::string state = "ready";  // "ready", "delayed" or "leased"
  // Ready messages as receives get them, higher priorities first, and not the oldest first whatever their priority.
  bool as_received = false;
  std::size_t max = 0;                    // messages of a page, at most 1,000; 0: the broker's default
  std::size_t max_bytes = 0;              // sum of the bodies of a page; 0: the broker's default
  std::optional<std::size_t> body_bytes;  // so much of each body at most
  std::string after;                      // BrowseResult::after of the page before; empty: the first page
};

// A message as it was when the broker looked. Nothing is leased, and looking is no delivery.
struct BrowsedMessage {
  std::string id;
  std::string state;
  std::string body;              // perhaps its beginning only: BrowseOptions::body_bytes
  std::size_t size = 0;          // of the whole body
  std::uint32_t deliveries = 0;  // how often it was handed out until now
  int priority = 0;
  std::chrono::system_clock::time_point sent_at;
  std::optional<std::chrono::system_clock::time_point> expires_at;
  std::optional<std::chrono::system_clock::time_point> ready_at;     // of a delayed one
  std::optional<std::chrono::system_clock::time_point> lease_until;  // of a leased one
  std::string cause;         // of a dead one, or of one that came from another queue: why it was given up
  std::string reason;        // that the last nack gave, here or there
  std::string origin_queue;  // where it came from
  std::vector<std::pair<std::string, std::string>> headers;
  std::string content_type;
  std::string reply_to;
  std::string correlation_id;
  std::string traceparent;
  std::string key;
};

struct BrowseResult {
  std::vector<BrowsedMessage> messages;
  std::string after;  // for the next page, which there is also behind an empty one; empty: there is no more
};

}  // namespace dmq
