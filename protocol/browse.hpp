// The payload of a browse reply: messages that are looked at and not taken, and where the next page begins.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/error.hpp"
#include "protocol/ids.hpp"
#include "protocol/message_state.hpp"
#include "protocol/payload.hpp"

namespace dmq {

class MsgpackReader;

// Up to where a browse has looked. Opaque to clients.
struct BrowseCursor {
  PartitionId partition;
  Lsn lsn;
  Priority priority = 0;  // of BrowseOrder::kNext alone
  bool operator==(const BrowseCursor&) const = default;
};
// "partition-lsn-priority", decimal without leading zeros.
std::string cursor_text(const BrowseCursor& cursor);
std::optional<BrowseCursor> parse_cursor(std::string_view text);  // empty: it is none

// A message without its body, as a worker shows it.
struct BrowsedHead {
  PartitionId partition;
  Lsn lsn;
  MessageState state = MessageState::kReady;
  std::uint32_t deliveries = 0;  // how often it was handed out until now
  TimeMs sent_ms;                // since 1970, like the other times
  Priority priority = 0;
  TimeMs expires_ms;            // 0: never
  TimeMs until_ms;              // delayed: when it is ready; leased: when the lease ends
  std::uint64_t size = 0;       // of the whole body, bytes
  std::string_view attributes;  // as stored
  std::string_view cause;       // dead: why
  std::string_view reason;      // that the last nack gave; empty: none
};

// Gathers one page.
class BrowseWriter {
 public:
  BrowseWriter();
  void add(const BrowsedHead& head, std::string_view body);  // the body may be cut
  std::uint32_t count() const { return count_; }
  std::string finish(const std::optional<BrowseCursor>& after);  // empty: there is no more

 private:
  std::string out_;
  std::uint32_t count_ = 0;
};

// One message of a page; the views point into the decoded payload.
struct Browsed {
  std::string_view id;
  std::string_view state;  // a newer broker may have others
  std::string_view body;
  std::uint64_t size = 0;
  std::uint32_t deliveries = 0;
  Priority priority = 0;
  TimeMs sent_ms;
  TimeMs expires_ms;        // 0: never
  TimeMs ready_ms;          // 0: not delayed
  TimeMs lease_until_ms;    // 0: not leased
  std::string_view cause;   // empty: not dead
  std::string_view reason;  // that the last nack gave; empty: none
  Attributes attributes;
};
struct BrowsePage {
  std::vector<Browsed> messages;
  std::string_view after;  // empty: there is no more
};
// Errors: malformed, too_large.
Result<BrowsePage> decode_browse(std::string_view payload, MsgpackReader& reader);

// queue.purge: how many messages were removed.
std::string encode_purged(std::uint64_t removed);

}  // namespace dmq
