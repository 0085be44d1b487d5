// Timers, requests and the feed of a member's tie to metad.
#include "runtime/metad_link.hpp"

#include <algorithm>

#include "runtime/logging.hpp"
#include "runtime/sockets.hpp"

namespace dmq {
namespace {

constexpr DurationMs kRequestTimeout{3000};
constexpr std::size_t kPendingMax = 10'000;
constexpr int kFeedMessagesMax = 50'000;  // more than its high-water marks let wait
constexpr int kMessagesPerStep = 1000;    // replies, and updates, read in one step
constexpr std::size_t kHeartbeatsOpenMax = 1000;
constexpr DurationMs kSnapshotPatience{3000};
constexpr DurationMs kRegisterPatience{1000};  // each registration that metad reads is a new session
constexpr DurationMs kResendInterval{10};      // while no connection takes what is to be sent
constexpr std::int64_t kCatalogFrameBytesMax = std::int64_t{1} << 30;
constexpr const char* kFeedTopic = "catalog";
constexpr std::int64_t kFeedIntervalMs = 1000;  // how often a feed without news speaks at the least

}  // namespace

MetadLink::MetadLink(zmq::context_t& context, std::string metad, RegisterMember self, OnChange on_change)
    : metad_(endpoint_of(metad)),
      self_(std::move(self)),
      on_change_(std::move(on_change)),
      requests_(make_socket(context, zmq::socket_type::dealer,
                            {.frame_bytes = kCatalogFrameBytesMax, .single_frames = true})),
      feed_(make_socket(context, zmq::socket_type::sub, {.frame_bytes = kCatalogFrameBytesMax})) {
  feed_.set(zmq::sockopt::subscribe, kFeedTopic);
  requests_.connect(metad_);
}

void MetadLink::add_poll_items(std::vector<zmq::pollitem_t>& items) {
  items.push_back({requests_.handle(), 0, ZMQ_POLLIN, 0});
  items.push_back({feed_.handle(), 0, static_cast<short>(syncing() ? 0 : ZMQ_POLLIN), 0});
}

bool MetadLink::connected(TimeMs steady_now) const { return heard_ && (steady_now - *heard_) < patience(); }

TimeMs MetadLink::next_deadline() const {
  TimeMs next = registered() ? heartbeat_due_ : registration_due_;
  if (snapshot_due_) next = std::min(next, *snapshot_due_);
  if (unsent_ != 0) next = std::min(next, unsent_due_);
  if (!pending_.empty()) next = std::min(next, pending_.begin()->second.deadline);
  return next;
}

// How long a feed that is well may say nothing.
DurationMs MetadLink::feed_patience() const { return DurationMs{3 * std::max(heartbeat_.value, kFeedIntervalMs)}; }

void MetadLink::step(TimeMs now) {
  read_replies(now);
  read_feed(now);
  expire(now);
  if (reconnect_due_ && now >= *reconnect_due_) connect_again();
  if (registered() && connected(now) && now >= feed_due_) {
    spdlog::warn("metad answers but its feed at {} is silent; registering again", feed_endpoint_);
    register_again(now);
  }
  if (!registered() && now >= registration_due_) {
    registration_id_ = ask(self_, kRegisterPatience, now, registration_due_);
    registration_sent_ = now;
  }
  if (registered() && now >= heartbeat_due_) send_heartbeat(now);
  if (snapshot_due_ && now >= *snapshot_due_) ask(GetSnapshot{}, kSnapshotPatience, now, *snapshot_due_);
  if (unsent_ != 0 && now >= unsent_due_) send_unsent(now);
}

// --- requests ----------------------------------------------------------------------------------------------------

bool MetadLink::send(const std::string& frame) {
  std::vector<zmq::message_t> frames;
  frames.push_back(copy_frame(frame));
  return send_frames(requests_, frames) == SendOutcome::kSent;
}

// Sends one of the link's own requests and sets when to do so again: after `interval`, or soon when no connection
// took it. Returns its id.
std::uint64_t MetadLink::ask(MetadRequestBody body, DurationMs interval, TimeMs now, TimeMs& due) {
  const std::uint64_t id = next_id_++;
  const bool sent = send(encode_metad_request({id, std::move(body)}));
  due = now + (sent ? interval : std::min(interval, kResendInterval));
  return id;
}

void MetadLink::request(MetadRequestBody body, TimeMs now, OnReply on_reply) {
  if (pending_.size() >= kPendingMax) {
    return on_reply(Error{Errc::kUnavailable, "10,000 requests to metad wait already"});
  }
  const std::uint64_t id = next_id_++;
  std::string frame = encode_metad_request({id, std::move(body)});
  if (send(frame)) {
    frame.clear();
  } else {
    if (unsent_++ == 0) unsent_due_ = now + kResendInterval;
  }
  pending_.emplace(id, Pending{now + kRequestTimeout, std::move(frame), std::move(on_reply)});
}

void MetadLink::send_unsent(TimeMs now) {
  unsent_due_ = now + kResendInterval;
  for (auto& [id, pending] : pending_) {
    if (pending.unsent.empty()) continue;
    if (!send(pending.unsent)) return;
    pending.unsent.clear();
    --unsent_;
  }
}

void MetadLink::expire(TimeMs now) {
  while (!pending_.empty() && pending_.begin()->second.deadline <= now) {
    const auto late = pending_.extract(pending_.begin());
    if (!late.mapped().unsent.empty()) --unsent_;
    late.mapped().on_reply(Error{Errc::kUnavailable, "metad at " + metad_ + " does not answer"});
  }
}

void MetadLink::read_replies(TimeMs now) {
  std::vector<zmq::message_t> frames;
  for (int i = 0; i < kMessagesPerStep && receive_frames(requests_, frames); ++i) {
    auto reply = frames.size() == 1 ? decode_metad_reply(bytes_of(frames[0]), reader_)
                                    : fail(Errc::kMalformed, "a reply is one frame");
    if (!reply) {
      spdlog::warn("dropped a reply of metad: {}", reply.error().context);
      continue;
    }
    if (!connected(now)) feed_due_ = now + feed_patience();  // it was away together with metad
    heard_ = now;
    if (metad_.starts_with("inproc:")) reconnect_due_ = now + patience();
    take_reply(std::move(*reply), now);
  }
}

void MetadLink::take_reply(MetadReply reply, TimeMs now) {
  if (auto waiting = pending_.extract(reply.id)) {
    if (!waiting.mapped().unsent.empty()) --unsent_;
    waiting.mapped().on_reply(reply.body);
  } else if (reply.id == registration_id_) {
    take_registration(reply.body, now);
  } else if (auto* snapshot = std::get_if<CatalogSnapshot>(&reply.body)) {
    take_snapshot(std::move(*snapshot));
  } else {
    take_heartbeat(reply.id, reply.body, now);
  }
}

// --- heartbeats --------------------------------------------------------------------------------------------------

void MetadLink::send_heartbeat(TimeMs now) {
  const std::uint64_t id = ask(MemberHeartbeat{session_}, heartbeat_, now, heartbeat_due_);
  if (heartbeats_.size() >= kHeartbeatsOpenMax) heartbeats_.erase(heartbeats_.begin());
  heartbeats_.emplace(id, now);
}

// metad answers in order, so those before this one will not be answered any more.
void MetadLink::take_heartbeat(std::uint64_t id, const MetadReplyBody& body, TimeMs now) {
  const auto sent = heartbeats_.find(id);
  if (sent == heartbeats_.end()) return;
  if (const auto* error = std::get_if<Error>(&body)) {
    spdlog::warn("metad refused a heartbeat: {}", error->context);
    return register_again(now);
  }
  leased_until_ = sent->second + patience();
  heartbeats_.erase(heartbeats_.begin(), std::next(sent));
}

// --- registration ------------------------------------------------------------------------------------------------

void MetadLink::register_again(TimeMs now) {
  session_ = SessionId{};
  heartbeats_.clear();
  leased_until_ = TimeMs{};
  registration_due_ = now;
}

void MetadLink::take_registration(const MetadReplyBody& body, TimeMs now) {
  registration_id_ = 0;
  const auto* registered = std::get_if<Registered>(&body);
  if (registered == nullptr) {
    const auto* error = std::get_if<Error>(&body);
    spdlog::error("metad refused to register '{}': {}", self_.name,
                  error != nullptr ? error->context : "no answer to it");
    return;
  }
  session_ = registered->session;
  heartbeat_ = DurationMs{std::max<std::int64_t>(1, registered->heartbeat_ms)};
  if (registered->missed_heartbeats != 0) missed_heartbeats_ = registered->missed_heartbeats;
  heartbeat_due_ = now + heartbeat_;
  leased_until_ = registration_sent_ + patience();
  floor_generation_ = registered->generation;
  floor_ = registered->floor;
  told_floor_ = false;
  spdlog::info("registered with metad at {} as '{}', session {}", metad_, self_.name, session_.value);
  // A feed that is well tells of a gap by itself; a large catalog is not fetched again for a new session alone, which
  // could cost the heartbeats of that session too. What was heard under the old session now counts for this one.
  if (!catalog_.empty() && feed_endpoint_ == registered->feed_endpoint && now < feed_due_) {
    return announce({});
  }
  connect_feed(registered->feed_endpoint);
  feed_due_ = now + feed_patience();
  snapshot_due_ = now;
}

void MetadLink::connect_feed(const std::string& endpoint) {
  // libzmq reads the first frame ahead when it is polled. Without the connection the second one would not come any
  // more, and reading it would end the process (its issue 2163): so nothing may wait.
  std::vector<zmq::message_t> frames;
  for (int i = 0; i < kFeedMessagesMax && receive_frames(feed_, frames); ++i) {
  }
  try {
    if (!feed_endpoint_.empty()) feed_.disconnect(feed_endpoint_);
  } catch (const zmq::error_t&) {  // gone already
  }
  feed_endpoint_.clear();
  if (const auto good = connect_socket(feed_, endpoint); !good) {
    spdlog::error("metad told a feed that cannot be: {}", good.error().context);
    return;
  }
  feed_endpoint_ = endpoint;
}

// TCP connects again by itself; over inproc a connection ends with the peer that it was made to. Once for each
// silence, since libzmq holds on to a connection that waits for its peer to bind: dropping that one is not safe.
void MetadLink::connect_again() {
  reconnect_due_.reset();
  try {
    requests_.disconnect(metad_);
  } catch (const zmq::error_t&) {  // gone already
  }
  requests_.connect(metad_);
  if (!feed_endpoint_.empty()) connect_feed(std::string(feed_endpoint_));
}

// --- the copy ----------------------------------------------------------------------------------------------------

void MetadLink::take_snapshot(CatalogSnapshot snapshot) {
  // One that was made before this session began; metad's answer to a later request is on its way or will be asked for.
  if (snapshot.generation == floor_generation_ && snapshot.version < floor_) return;
  snapshot_due_.reset();
  const bool older = snapshot.generation < catalog_.generation() ||
                     (snapshot.generation == catalog_.generation() && snapshot.version < catalog_.version());
  if (!catalog_.empty() && (older || snapshot.partitions != catalog_.partitions())) {
    if (std::exchange(refused_older_, true)) return;
    spdlog::error(
        "metad's catalog (generation {}, version {}, {} partitions) does not follow the known one ({}, {}, {}): "
        "the known one is kept. Was metad's data lost, or restored without raising its generation?",
        snapshot.generation, snapshot.version.value, snapshot.partitions, catalog_.generation(),
        catalog_.version().value, catalog_.partitions());
    return;
  }
  refused_older_ = false;
  catalog_.apply(std::move(snapshot));
  told_floor_ = false;
  announce({});
}

bool MetadLink::behind_floor() const {
  return catalog_.generation() < floor_generation_ ||
         (catalog_.generation() == floor_generation_ && catalog_.version() < floor_);
}

// Tells of changes that are in the copy now, or that anything may have changed.
void MetadLink::announce(const std::vector<CatalogChange>& changes) {
  if (!on_change_ || behind_floor()) return;
  if (!std::exchange(told_floor_, true)) return on_change_(nullptr);
  for (const CatalogChange& change : changes) on_change_(&change);
}

void MetadLink::read_feed(TimeMs now) {
  std::vector<zmq::message_t> frames;
  for (int i = 0; i < kMessagesPerStep && !syncing() && receive_frames(feed_, frames); ++i) {
    const auto update = frames.size() == 2 ? decode_update(bytes_of(frames[1]), reader_)
                                           : fail(Errc::kMalformed, "an update is two frames");
    if (!update) {
      spdlog::warn("dropped an update of metad: {}", update.error().context);
      continue;
    }
    feed_due_ = now + feed_patience();
    take_update(*update, now);
  }
}

void MetadLink::take_update(const CatalogUpdate& update, TimeMs now) {
  switch (catalog_.apply(update)) {
    case CatalogCopy::Applied::kOld:
      return;
    case CatalogCopy::Applied::kGap:
      snapshot_due_ = now;
      return;
    case CatalogCopy::Applied::kDone:
      break;
  }
  announce(update.changes);
}

}  // namespace dmq
