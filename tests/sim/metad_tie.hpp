// The tie of a simulated worker or router to metad: what runtime/metad_link.hpp does, over the simulated network.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "tests/sim/metad.hpp"

namespace dmq::sim {

// Registration, heartbeats, the cached catalog kept fresh by feed and snapshots: the same states and the same rules
// (M1, M2) as the real one. It ends with its process; what is still under way to it then is lost.
class MetadTie : public std::enable_shared_from_this<MetadTie> {
 public:
  using OnChange = std::function<void(const CatalogChange*)>;

  MetadTie(World& world, Network& network, Metad& metad, Endpoint self, RegisterMember member);
  using OnMetadReply = std::function<void(const MetadReplyBody&)>;
  // `wake`: something arrived, call step() soon.
  void begin(OnChange on_change, std::function<void()> wake);

  void step(TimeMs now);
  TimeMs next_deadline() const;
  const CatalogCopy& catalog() const { return catalog_; }
  SessionId session() const { return session_; }
  TimeMs leased_until() const { return leased_until_; }
  void request(MetadRequestBody body, TimeMs now, OnMetadReply on_reply);

 private:
  enum class Kind { kRegistration, kHeartbeat, kSnapshot, kOther };
  struct Answer {
    std::uint64_t id;
    Kind kind;
    MetadAnswer body;
  };
  struct Pending {
    TimeMs deadline;
    OnMetadReply on_reply;
  };
  std::uint64_t ask(Kind kind, MetadRequestBody body);
  void take(const Answer& answer, TimeMs now);
  void take_registration(const MetadReplyBody& body, TimeMs now);
  void take_snapshot(const CatalogSnapshot& snapshot);
  void take_update(const CatalogUpdate& update, TimeMs now);
  void register_again(TimeMs now);
  bool connected(TimeMs now) const { return heard_ && now - *heard_ < patience(); }
  DurationMs feed_patience() const;
  DurationMs patience() const { return DurationMs{3 * heartbeat_.value}; }

  World& world_;
  Network& network_;
  Metad& metad_;
  const Endpoint self_;
  RegisterMember member_;
  OnChange on_change_;
  std::function<void()> wake_;
  std::deque<Answer> answers_;
  std::deque<std::shared_ptr<const CatalogUpdate>> feed_;
  CatalogCopy catalog_;
  SessionId session_;
  DurationMs heartbeat_{100};
  DurationMs lease_;  // as long as heartbeats may be missed
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Pending> pending_;
  std::uint64_t registration_id_ = 0;
  std::uint64_t heartbeat_id_ = 0;
  TimeMs registration_due_;
  TimeMs registration_sent_;
  TimeMs heartbeat_sent_;
  TimeMs leased_until_;
  TimeMs heartbeat_due_;
  TimeMs feed_due_;
  bool subscribed_ = false;
  std::optional<TimeMs> snapshot_due_;
  std::optional<TimeMs> heard_;
};

}  // namespace dmq::sim
