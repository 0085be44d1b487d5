// The metad daemon: sockets, disk and clock around the controller.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "metad/catalog_store.hpp"
#include "metad/controller.hpp"
#include "protocol/msgpack_reader.hpp"
#include "runtime/wakeup.hpp"

namespace dmq {

struct MetadOptions {
  std::string data_dir;
  std::string listen = "tcp://127.0.0.1:7312";
  std::string feed;       // empty: a free port of the same host for tcp, else `listen` with "-feed" behind it
  std::string advertise;  // the host by which members reach the feed; empty: the one in `feed`
  // These three count at the first start only.
  std::uint16_t partitions = kPartitionsDefault;
  std::optional<unsigned> replicas;     // of each partition; empty: 1
  std::optional<unsigned> min_in_sync;  // empty: 2 of three replicas or more, else 1
  DurationMs heartbeat{kMemberHeartbeatMs};
  std::uint32_t missed_heartbeats = kHeartbeatsMissedDefault;  // then a member is dead
  DurationMs handover_after = Controller::Settings().handover_after;
  DurationMs replace_after = Controller::Settings().replace_after;
};

// Errors: invalid_argument, without touching disk or network.
Result<void> check_options(const MetadOptions& options);

// What the feed publishes: two frames, this topic and an encoded CatalogUpdate.
inline constexpr std::string_view kCatalogTopic = "catalog";

// One thread runs it; stop() and endpoint() may be called from any. Each turn: drain the requests (bounded), step the
// controller, one synced transaction, then replies and one update on the feed. Without changes the feed repeats the
// catalog's version each second (each heartbeat, if that is shorter).
// LIMIT: a snapshot is built for each that asks, seconds of the loop at a million queues; members wait.
class MetadDaemon {
 public:
  // Listens on return. Errors: those of CatalogStore::open; unavailable when it cannot listen; invalid_argument.
  static Result<std::unique_ptr<MetadDaemon>> open(zmq::context_t& context, MetadOptions options);
  ~MetadDaemon();

  const std::string& endpoint() const { return sockets_.endpoint; }    // where it really listens
  const std::string& feed_endpoint() const { return feed_endpoint_; }  // as members are told
  const ClusterInfo& cluster() const { return controller_.cluster(); }
  std::uint16_t partitions() const { return controller_.counters().partitions; }

  void run();                                        // until stop() or a failure; throws nothing
  void stop() noexcept { stop_.raise(); }            // also before run()
  Result<void> failure() const { return failure_; }  // after run(): why it ended, if not by stop()

 private:
  struct Answer {
    zmq::message_t peer;
    MetadReply reply;
  };
  struct Sockets {
    zmq::socket_t requests;  // ROUTER
    zmq::socket_t feed;      // PUB
    std::string endpoint;
    std::string feed_endpoint;  // as bound
  };

  MetadDaemon(Sockets sockets, std::unique_ptr<CatalogStore> store, Controller controller, MetadOptions options,
              std::string feed_endpoint);
  static Result<Sockets> bind_sockets(zmq::context_t& context, const MetadOptions& options);
  void run_loop();
  void turn(TimeMs now);
  bool drain_requests(TimeMs now);
  void tick(TimeMs now);
  void take_request(std::vector<zmq::message_t>& frames, TimeMs now);
  void refuse_unread(std::vector<zmq::message_t>& frames, const Error& error);
  bool commit();
  void refuse(const Error& error);
  void send_answers();
  void publish(TimeMs now);

  Sockets sockets_;
  std::unique_ptr<CatalogStore> store_;
  Controller controller_;
  MetadOptions options_;
  std::string feed_endpoint_;
  Wakeup stop_;
  MsgpackReader reader_;
  CatalogCounters committed_;
  std::vector<CatalogChange> changes_;  // of this turn
  std::vector<Answer> answers_;         // of this turn
  bool refusing_ = false;               // the last commit was refused; said once in the log
  std::uint64_t dropped_ = 0;           // requests that could not be read, since the last tick
  TimeMs tick_due_;
  TimeMs publish_due_;
  Result<void> failure_;
};

}  // namespace dmq
