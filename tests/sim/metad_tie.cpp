// The timers and answers of runtime/metad_link.cpp.
#include "tests/sim/metad_tie.hpp"

#include <algorithm>

namespace dmq::sim {
namespace {

constexpr DurationMs kRequestTimeout{3000};
constexpr std::int64_t kFeedPatienceMs = 750;
constexpr std::size_t kFeedMax = 1000;

}  // namespace

MetadTie::MetadTie(World& world, Network& network, Metad& metad, Endpoint self, RegisterMember member)
    : world_(world), network_(network), metad_(metad), self_(self), member_(std::move(member)) {}

void MetadTie::begin(OnChange on_change, std::function<void()> wake) {
  on_change_ = std::move(on_change);
  wake_ = std::move(wake);
  metad_.listen(self_, [weak = weak_from_this()](const std::shared_ptr<const CatalogUpdate>& update) {
    const auto tie = weak.lock();
    if (!tie || !tie->subscribed_ || tie->feed_.size() >= kFeedMax) return;
    tie->feed_.push_back(update);
    tie->wake_();
  });
}

DurationMs MetadTie::feed_patience() const { return DurationMs{kFeedPatienceMs / world_.pace}; }

TimeMs MetadTie::next_deadline() const {
  TimeMs next = session_.value != 0 ? heartbeat_due_ : registration_due_;
  if (snapshot_due_) next = std::min(next, *snapshot_due_);
  if (!pending_.empty()) next = std::min(next, pending_.begin()->second.deadline);
  return next;
}

void MetadTie::step(TimeMs now) {
  for (; !answers_.empty(); answers_.pop_front()) take(answers_.front(), now);
  for (; !snapshot_due_ && !feed_.empty(); feed_.pop_front()) {
    feed_due_ = now + feed_patience();
    take_update(*feed_.front(), now);
  }
  while (!pending_.empty() && pending_.begin()->second.deadline <= now) {
    const auto late = pending_.extract(pending_.begin());
    late.mapped().on_reply(Error{Errc::kUnavailable, "metad does not answer"});
  }
  if (session_.value != 0 && connected(now) && now >= feed_due_) register_again(now);
  if (session_.value == 0 && now >= registration_due_) {
    registration_id_ = ask(Kind::kRegistration, member_);
    registration_sent_ = now;
    registration_due_ = now + heartbeat_;
  }
  if (session_.value != 0 && now >= heartbeat_due_) {
    heartbeat_id_ = ask(Kind::kHeartbeat, MemberHeartbeat{session_});
    heartbeat_sent_ = now;
    heartbeat_due_ = now + heartbeat_;
  }
  if (snapshot_due_ && now >= *snapshot_due_) {
    ask(Kind::kSnapshot, GetSnapshot{});
    snapshot_due_ = now + patience();
  }
}

std::uint64_t MetadTie::ask(Kind kind, MetadRequestBody body) {
  const std::uint64_t id = next_id_++;
  const auto answered = [&network = network_, weak = weak_from_this(), self = self_, id, kind](MetadAnswer reply) {
    network.send(kMetad, self, false, [weak, id, kind, reply = std::move(reply)] {
      const auto tie = weak.lock();
      if (!tie) return;
      tie->answers_.push_back({id, kind, reply});
      tie->wake_();
    });
  };
  network_.send(self_, kMetad, kind == Kind::kOther,
                [&metad = metad_, body = std::move(body), answered] { metad.take(body, answered); });
  return id;
}

void MetadTie::request(MetadRequestBody body, TimeMs now, OnMetadReply on_reply) {
  const std::uint64_t id = ask(Kind::kOther, std::move(body));
  pending_.emplace(id, Pending{now + kRequestTimeout, std::move(on_reply)});
}

void MetadTie::take(const Answer& answer, TimeMs now) {
  if (!connected(now)) feed_due_ = now + feed_patience();  // it was away together with metad
  heard_ = now;
  if (auto waiting = pending_.extract(answer.id)) {
    waiting.mapped().on_reply(*answer.body);
  } else if (answer.id == registration_id_) {
    take_registration(*answer.body, now);
  } else if (const auto* snapshot = std::get_if<CatalogSnapshot>(answer.body.get())) {
    take_snapshot(*snapshot);
  } else if (answer.id == heartbeat_id_) {
    if (std::holds_alternative<Error>(*answer.body)) return register_again(now);
    leased_until_ = heartbeat_sent_ + lease_;
  }
}

void MetadTie::register_again(TimeMs now) {
  session_ = SessionId{};
  leased_until_ = TimeMs{};
  heartbeat_id_ = 0;
  registration_due_ = now;
}

void MetadTie::take_registration(const MetadReplyBody& body, TimeMs now) {
  registration_id_ = 0;
  const auto* registered = std::get_if<Registered>(&body);
  if (registered == nullptr) return;
  session_ = registered->session;
  heartbeat_ = DurationMs{registered->heartbeat_ms};
  lease_ = DurationMs{registered->missed_heartbeats * heartbeat_.value};
  leased_until_ = registration_sent_ + lease_;
  heartbeat_due_ = now + heartbeat_;
  world_.note("registered", self_, session_.value);
  if (!catalog_.empty() && now < feed_due_) return on_change_(nullptr);
  subscribed_ = true;
  feed_.clear();
  feed_due_ = now + feed_patience();
  snapshot_due_ = now;
}

void MetadTie::take_snapshot(const CatalogSnapshot& snapshot) {
  snapshot_due_.reset();
  if (!catalog_.empty() && snapshot.version < catalog_.version()) return;
  catalog_.apply(snapshot);
  on_change_(nullptr);
}

void MetadTie::take_update(const CatalogUpdate& update, TimeMs now) {
  switch (catalog_.apply(update)) {
    case CatalogCopy::Applied::kOld:
      return;
    case CatalogCopy::Applied::kGap:
      snapshot_due_ = now;
      return;
    case CatalogCopy::Applied::kDone:
      break;
  }
  for (const CatalogChange& change : update.changes) on_change_(&change);
}

}  // namespace dmq::sim
