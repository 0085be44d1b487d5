// A worker's or router's tie to metad: registration, heartbeats, the cached catalog kept fresh by the feed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "protocol/catalog.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

// Owned and called by one loop. While metad is away the copy goes on answering; the link registers again (with the
// same name, getting a new session) as soon as metad answers.
//
//   REGISTERING -- registered --> SYNCING -- snapshot --> SYNCED -- gap --> SYNCING
//        ^--------------- no answer for 3 heartbeats, or unknown session ---------'
class MetadLink {
 public:
  // Sees each change after it is in catalog(). A snapshot gives nullptr: anything may have changed.
  using OnChange = std::function<void(const CatalogChange*)>;
  using OnReply = std::function<void(const MetadReplyBody&)>;

  // `metad` is the endpoint of its request socket. Throws zmq::error_t when it is no endpoint at all.
  MetadLink(zmq::context_t& context, std::string metad, RegisterMember self, OnChange on_change);

  // Appends the link's two sockets (requests, feed) to a poll set.
  void add_poll_items(std::vector<zmq::pollitem_t>& items);
  // Reads what waits, bounded, and sends what is due. Call it each turn; it does nothing when nothing is due.
  void step(TimeMs steady_now);
  // When step must be called at the latest.
  TimeMs next_deadline() const;

  const CatalogCopy& catalog() const { return catalog_; }
  bool registered() const { return session_.value != 0; }
  bool connected(TimeMs steady_now) const;  // metad answered within 3 heartbeats
  SessionId session() const { return session_; }

  // Asks metad to write. `on_reply` is called once, from step: with the answer, or with unavailable after 3 s.
  // At most 10,000 requests wait; one more is refused at once with unavailable.
  void request(MetadRequestBody body, TimeMs steady_now, OnReply on_reply);

 private:
  struct Pending {
    TimeMs deadline;
    OnReply on_reply;
  };
  void send(std::uint64_t id, MetadRequestBody body);
  void send_registration(TimeMs now);
  void ask_for_snapshot(TimeMs now);
  void read_replies(TimeMs now);
  void read_feed(TimeMs now);
  void expire(TimeMs now);

  zmq::context_t& context_;
  RegisterMember self_;
  OnChange on_change_;
  zmq::socket_t requests_;
  zmq::socket_t feed_;
  std::string feed_endpoint_;
  MsgpackReader reader_;
  CatalogCopy catalog_;
  SessionId session_;
  DurationMs heartbeat_{kHeartbeatMs};
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Pending> pending_;
  std::optional<std::uint64_t> registration_id_;
  std::optional<std::uint64_t> snapshot_id_;
  TimeMs registration_due_;
  TimeMs heartbeat_due_;
  TimeMs snapshot_due_;
  TimeMs heard_;
};

}  // namespace dmq
