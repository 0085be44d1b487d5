// The worker's loop: sockets and disk around the request core.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "runtime/metad_link.hpp"
#include "runtime/reactor.hpp"
#include "storage/committer.hpp"
#include "storage/log.hpp"
#include "storage/log_reader.hpp"
#include "storage/peer_links.hpp"
#include "storage/service.hpp"

namespace dmq {

inline constexpr std::uint64_t kScrubBytesPerS = 8 << 20;

struct WorkerOptions {
  std::string data_dir;
  std::string listen = "tcp://127.0.0.1:*";  // for routers
  std::string advertise;                     // what routers connect to; empty: the endpoint that was bound
  std::string metad = "tcp://127.0.0.1:7312";
  std::string name;  // lasting; empty: made from the store's identity
  SyncMode sync = SyncMode::kCommit;
  ServiceLimits limits{.scrub_bytes_per_s = kScrubBytesPerS};
  PeerOptions peers;
  std::string zone;  // what fails together with this worker: a rack, a room
  OnDamage on_damage = OnDamage::kRefuse;
  bool restored = false;  // the store comes from a backup: no copy in it counts before it was compared with others
};

// Records of the log for the request core: a read transaction that lives no longer than a turn of the loop.
class TurnRecords : public RecordSource {
 public:
  explicit TurnRecords(Log& log) : reader_(log) {}
  Result<RecordView> read(RecordPlace place) override;
  Result<void> scan(RecordPlace from, const Visit& visit) override;
  void release();                                           // at the end of a turn, and after each commit
  const Result<void>& failure() const { return failure_; }  // the store cannot be read any more

 private:
  Result<void> refresh();

  LogReader reader_;
  bool fresh_ = false;
  Result<void> failure_;
};

// One worker = one loop thread + one commit thread + one LMDB environment. A turn of the loop: drain the sockets
// (bounded), let the core decide, hand the writes to one transaction, and send what is committed.
class Worker : public Part {
 public:
  // Opens or creates the store and reads it. Errors: unavailable, internal, invalid_argument; one plain sentence.
  static Result<std::unique_ptr<Worker>> open(zmq::context_t& context, WorkerOptions options);

  const std::string& endpoint() const { return endpoint_; }
  const std::string& name() const { return name_; }
  std::uint64_t messages_found() const { return messages_found_; }
  Result<void> failure() const { return failure_; }  // a fault of the disk, or of metad

  void add_poll_items(std::vector<zmq::pollitem_t>& items) override;
  TimeMs next_deadline() const override;
  bool turn(TimeMs steady_now) override;
  bool failed() const override { return !failure_; }
  void end() override;  // commits what was taken, answers, answers receives that wait

 private:
  // A turn with the frames that its views point into. A deque, because moving a small frame moves its bytes.
  struct Gathered {
    Turn turn;
    std::deque<zmq::message_t> frames;
    std::size_t requests = 0;
  };

  Worker(zmq::context_t& context, WorkerOptions options, std::unique_ptr<Log> log);
  Result<void> restore();
  bool drain_requests();
  void take_request(std::vector<zmq::message_t>& frames);
  void hand_back(std::vector<zmq::message_t>& frames);
  bool advance_commits();
  void commit_gathered();
  void finish(Gathered& gathered, const Result<void>& outcome);
  void follow_catalog(const CatalogChange* change);
  bool drain_peers();
  bool commit_is_due();
  void send_all();
  void send_replies();
  void send_reply(Reply& reply);
  bool turn_is_full() const;
  Now now() const;

  WorkerOptions options_;
  std::unique_ptr<Log> log_;
  TurnRecords records_;
  zmq::socket_t socket_;
  std::string endpoint_;
  std::string name_;
  std::unique_ptr<MetadLink> link_;
  std::unique_ptr<Service> service_;
  Committer committer_;
  std::unique_ptr<Gathered> gathering_;
  std::unique_ptr<Gathered> committing_;
  std::unique_ptr<PeerLinks> peers_;
  Outbox out_;
  TimeMs effects_due_;
  Now now_{};
  TimeMs sync_due_;
  std::uint64_t messages_found_ = 0;
  Result<void> failure_;
};

}  // namespace dmq
