// A worker's or router's tie to metad: registration, heartbeats, the cached catalog kept fresh by the feed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

// Owned and called by one loop. While metad is away the copy goes on answering and the session is kept: a worker that
// metad still knows afterwards goes on in it, so that receipts stay good. A member that metad does not know any more
// (a router after metad's restart, a worker that was taken for dead) registers again and gets a new session.
//
//   REGISTERING -- registered --> SYNCING -- snapshot --> SYNCED -- gap, or new feed --> SYNCING
//        ^------- unknown session, or heartbeats answered but a silent feed ---'
//
// M1  The feed is subscribed before a snapshot is asked for, and not read until it came: no update falls in between.
// M2  The copy never goes back: a snapshot older than it is refused, and said in the log.
// M3  What is older than the registration of the session is told to nobody (rule 1 of replication): after a new session
//     the first change that on_change sees is "anything", when the copy has reached the registration's floor.
class MetadLink {
 public:
  // Sees each change after it is in catalog(). A snapshot or a new session gives nullptr: anything may have changed.
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
  bool connected(TimeMs steady_now) const;  // metad answered within as many heartbeats as may be missed
  // Until then metad takes nobody else for this member (rule 11): as many heartbeats as may be missed after it sent the
  // last one that was answered. Afterwards a leader goes on safely, but another may deliver the same messages.
  TimeMs leased_until() const { return leased_until_; }
  SessionId session() const { return session_; }

  // Asks metad to write. `on_reply` is called once, from step: with the answer, or with unavailable after 3 s.
  // At most 10,000 requests wait; one more is refused at once with unavailable, from within this call.
  void request(MetadRequestBody body, TimeMs steady_now, OnReply on_reply);

 private:
  struct Pending {
    TimeMs deadline;
    std::string unsent;  // the encoded request while it could not be handed to a connection
    OnReply on_reply;
  };
  bool send(const std::string& frame);
  std::uint64_t ask(MetadRequestBody body, DurationMs interval, TimeMs now, TimeMs& due);
  void send_heartbeat(TimeMs now);
  void take_heartbeat(std::uint64_t id, const MetadReplyBody& body, TimeMs now);
  void register_again(TimeMs now);
  bool behind_floor() const;
  void announce(const std::vector<CatalogChange>& changes);
  void connect_again();
  void connect_feed(const std::string& endpoint);
  void read_replies(TimeMs now);
  void take_reply(MetadReply reply, TimeMs now);
  void take_registration(const MetadReplyBody& body, TimeMs now);
  void take_snapshot(CatalogSnapshot snapshot);
  void read_feed(TimeMs now);
  void take_update(const CatalogUpdate& update, TimeMs now);
  void send_unsent(TimeMs now);
  void expire(TimeMs now);
  bool syncing() const { return snapshot_due_.has_value(); }
  DurationMs patience() const { return DurationMs{missed_heartbeats_ * heartbeat_.value}; }
  DurationMs feed_patience() const;

  std::string metad_;
  RegisterMember self_;
  OnChange on_change_;
  zmq::socket_t requests_;
  zmq::socket_t feed_;
  std::string feed_endpoint_;  // empty: not connected
  MsgpackReader reader_;
  CatalogCopy catalog_;
  SessionId session_;
  DurationMs heartbeat_{kMemberHeartbeatMs};
  std::int64_t missed_heartbeats_ = kHeartbeatsMissedDefault;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Pending> pending_;    // the oldest, which is due first, in front
  std::size_t unsent_ = 0;                      // how many of them still have to be sent
  std::uint64_t registration_id_ = 0;           // the latest request of its kind; 0: none is open
  std::map<std::uint64_t, TimeMs> heartbeats_;  // without an answer so far, and when they were sent
  TimeMs leased_until_;
  std::uint64_t floor_generation_ = 0;  // of the registration
  CatalogVersion floor_;
  bool told_floor_ = true;  // on_change knows that a new session began
  TimeMs registration_due_;
  TimeMs registration_sent_;
  TimeMs heartbeat_due_;
  TimeMs unsent_due_;
  TimeMs feed_due_;                      // when the feed's silence is too long
  std::optional<TimeMs> reconnect_due_;  // inproc only, and once for each silence
  std::optional<TimeMs> snapshot_due_;   // when to ask for a snapshot (again); empty: none is needed
  std::optional<TimeMs> heard_;          // metad's last answer
  bool refused_older_ = false;           // said once in the log
};

}  // namespace dmq
