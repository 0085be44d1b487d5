// Requests to queues of several partitions: what goes to which, and one reply made of theirs.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/catalog.hpp"
#include "protocol/header.hpp"
#include "protocol/msgpack_reader.hpp"
#include "protocol/payload.hpp"
#include "router/client_address.hpp"

namespace dmq {

inline constexpr std::size_t kSpreadMax = 10'000;  // requests under way at once

// Knows no socket, thread or clock. Not thread-safe. Most requests go to one part as they are. Of the others:
//
//   send, ack, nack, extend       each part gets its share of the items; the results come back in their order
//   describe, stats, purge        all parts are asked; counts are added
//   heartbeat, unsubscribe        all parts are told
//   subscribe                     all parts, with their share of the credit; each answers the client itself
//   receive                       one part after the other, beginning with another one each time; when none has a
//                                 message all are waited for, the first one that has some is passed on, and the others
//                                 are told to wait no more. What they gave meanwhile goes back, uncounted.
class Spread {
 public:
  // `name`: no other router of the broker has it, up to 32 bytes.
  explicit Spread(std::string name) : name_(std::move(name)) {}

  // A request to one part. It goes out under part_address(), a copy under the client's own.
  struct Part {
    std::uint16_t part = 0;
    std::string header;
    std::string payload;
  };
  // The request goes to this part as it is.
  struct Through {
    std::uint16_t part = 0;
  };
  // Copies, each of which answers the client itself.
  struct Copies {
    std::vector<Part> parts;
  };
  struct Answer {
    ClientAddress client;
    std::string header;
    std::string payload;
    bool passes = false;  // the payload is that of the reply that came
  };
  struct Step {
    std::uint64_t ticket = 0;
    std::string queue;
    std::vector<Part> asks;
    std::optional<Answer> answer;
    bool give_back = false;  // the messages of the reply that came are not wanted
  };
  using Begun = std::variant<Through, Copies, Step, Error>;

  // `partitions`: of the cluster. REQUIRES: the queue has more than one.
  Begun begin(const ClientAddress& client, std::string_view header_bytes, const RequestHeader& header,
              std::string_view payload, const QueueInfo& queue, std::uint16_t partitions, TimeMs now);
  // What a part answered; of an unknown ticket messages go back.
  Step on_reply(std::uint64_t ticket, std::uint16_t part, std::string_view header, std::string_view payload,
                TimeMs now);
  // Those that nobody waits for any more; looked for once a second.
  void forget(TimeMs now);
  std::size_t size() const { return under_way_.size(); }

  // The address of a part's request, which no client has: the router drops what comes under such a one.
  static std::string part_address(std::uint64_t ticket, std::uint16_t part);
  struct PartAddress {
    std::uint64_t ticket;
    std::uint16_t part;
  };
  static std::optional<PartAddress> parse_part_address(std::string_view routing_id);

 private:
  struct Reply {
    std::string header;
    std::string payload;
    bool ok = false;
  };
  struct UnderWay {
    Op op = Op::kPing;
    ClientAddress client;
    std::string queue;
    std::string header;  // as the client sent it
    std::uint16_t parts = 0;
    TimeMs until;      // of a receive: how long it waits
    TimeMs forget_at;  // nobody waits any more
    // Of what is shared out: the items of each part, by their places in the request.
    std::map<std::uint16_t, std::vector<std::size_t>> places;
    std::map<std::uint16_t, Reply> replies;
    std::size_t waiting = 0;  // replies to come
    // Of a receive.
    std::uint16_t first = 0;  // the part that was asked first
    std::uint16_t asked = 0;  // how many were, in this round
    bool together = false;    // all are waited for
    bool one_by_one = false;  // they never are
  };

  Begun begin_send(const RequestHeader& header, std::string_view payload, const QueueInfo& queue, UnderWay under_way);
  Begun begin_settle(std::string_view payload, const QueueInfo& queue, std::uint16_t partitions, UnderWay under_way);
  Begun begin_receive(UnderWay under_way, TimeMs now);
  Begun share_out(UnderWay under_way, const std::vector<std::string_view>& items);
  Begun tell_all(UnderWay under_way, std::string_view payload);
  Copies subscribe(const RequestHeader& header, std::uint16_t parts);
  Step start(UnderWay under_way, std::vector<Part> asks);
  Step on_receive_reply(std::uint64_t ticket, UnderWay& under_way, std::string_view header, bool has_messages,
                        TimeMs now);
  Step ask_next(std::uint64_t ticket, UnderWay& under_way, TimeMs now);
  Step wait_for_all(std::uint64_t ticket, UnderWay& under_way, TimeMs now);
  std::vector<Part> stop_waiting(std::uint64_t ticket, const UnderWay& under_way, std::uint16_t but);
  Part receive_from(std::uint64_t ticket, const UnderWay& under_way, std::uint16_t part, DurationMs wait);
  Answer conclude(UnderWay& under_way);
  std::string item_error(std::string_view header);
  std::string join_results(UnderWay& under_way);

  std::string wait_name(std::uint64_t ticket) const { return name_ + "." + std::to_string(ticket); }

  const std::string name_;
  std::map<std::uint64_t, UnderWay> under_way_;
  std::uint64_t last_ticket_ = 0;
  std::uint64_t turn_ = 0;  // of the parts
  TimeMs forget_due_;
  MsgpackReader reader_;
  RequestHeader again_;  // of a request under way, decoded once more
  std::vector<SendItem> items_;
  std::vector<std::string_view> receipts_;
};

}  // namespace dmq
