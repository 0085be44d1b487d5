// The router's loop: clients' ROUTER sockets in front, one DEALER per worker behind, the tie to metad beside.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "protocol/envelope.hpp"
#include "router/admission.hpp"
#include "router/bytes_under_way.hpp"
#include "router/client_address.hpp"
#include "router/spread.hpp"
#include "router/unread_replies.hpp"
#include "runtime/metad_link.hpp"
#include "runtime/peer_socket.hpp"
#include "runtime/reactor.hpp"

namespace dmq {

struct RouterOptions {
  std::string listen = "tcp://127.0.0.1:7310";  // for clients
  std::string admin;                            // for administrators: loopback or ipc; empty: none
  std::string metad = "tcp://127.0.0.1:7312";
  std::string name;  // empty: a random one
  bool auto_create = true;
  bool allow_delete = false;
};

// Holds no state that matters: a request lives in its frames. Requests that must wait (for
// the creation of their queue, for a map that is being refreshed) are held whole, bounded in number, bytes and time;
// later ones for the same queue wait behind them, so that a client's requests keep their order.
//
// Memory: requests wait in the way to their worker, and then held; large replies in the way to their client. Each is
// bounded in bytes, docs/protocol.md, section 12.
class Router : public Part {
 public:
  // Errors: unavailable (cannot listen), invalid_argument (a wrong endpoint).
  static Result<std::unique_ptr<Router>> open(zmq::context_t& context, RouterOptions options);

  const std::string& endpoint() const { return endpoint_; }
  const std::string& admin_endpoint() const { return admin_endpoint_; }
  // Every partition has a leader that is alive, and enough replicas in sync. From any thread.
  bool ready() const { return ready_; }
  std::uint64_t dropped() const { return dropped_; }

  void add_poll_items(std::vector<zmq::pollitem_t>& items) override;
  TimeMs next_deadline() const override;
  bool turn(TimeMs steady_now) override;
  void end() override;  // passes on what workers answered

 private:
  using Client = ClientAddress;
  // A request that was read, or handed back.
  struct Incoming {
    Client client;
    std::uint8_t hops = 0;
    std::optional<PartitionId> part{};  // of a queue of several partitions: the one that it is for
    zmq::message_t header;
    zmq::message_t payload;
    bool has_payload = false;
    std::size_t bytes() const { return header.size() + payload.size(); }
    void drop_payload() {
      payload.rebuild();
      has_payload = false;
    }
  };
  struct Held {
    Incoming request;
    TimeMs retry_at;
    std::string queue;
    bool creating;  // until the queue is known, at the longest until retry_at; otherwise until retry_at
  };
  // An answer of metad that waits until this router's own copy shows it.
  struct Confirming {
    Client client;
    RequestId id;
    std::string queue;
    std::uint64_t version;  // of its settings, at least; 0: it is deleted
    std::string payload;
    TimeMs until;
  };

  // The way to a worker.
  struct WorkerEnd {
    WorkerEnd(zmq::context_t& context, const std::string& endpoint);
    PeerSocket link;
    BytesUnderWay under_way;
  };

  Router(zmq::context_t& context, RouterOptions options);
  Result<void> bind();
  bool drain_clients(zmq::socket_t& socket, bool admin);
  void take_request(std::vector<zmq::message_t>& frames, bool admin);
  void dispatch(Incoming request);
  void dispatch_to_part(Incoming request);
  void spread(Incoming request);
  void put_out(Spread::Step step, const QueueInfo& queue);
  void take_step(Spread::Step step, zmq::message_t payload, WorkerEnd* worker, std::vector<zmq::message_t>* frames);
  bool has_room_for_reply(const Client& client) const;
  void forward(Incoming request, const Route& route);
  bool holds(std::string_view queue, std::optional<PartitionId> part) const;
  void hold(Incoming request, bool creating);
  void hold_again(Incoming request, const std::string& reason);
  void keep(Held held);
  void create_queue(const std::string& name);
  void fail_held(const std::string& queue, const Error& error);
  void retry_held(bool catalog_changed);
  void ask_metad(const Client& client, const RequestId& id, const AskMetad& ask);
  void confirm();
  void watch_workers();
  bool drain_worker(WorkerEnd& worker);
  void drain_fully(WorkerEnd& worker);
  void pass_reply(WorkerEnd& worker, const Envelope& envelope, std::vector<zmq::message_t>& frames);
  void pass_on(const Client& client, zmq::message_t header, zmq::message_t payload, WorkerEnd& worker,
               std::vector<zmq::message_t>& frames);
  void give_back(WorkerEnd& worker, std::vector<zmq::message_t> frames);
  void take_back(const Envelope& envelope, std::vector<zmq::message_t>& frames);
  void reply(const Client& client, std::string header, std::string payload);
  void refuse(const Incoming& request, const RequestId& id, const Error& error);
  void refuse_unread(const Client& client, std::string_view reply_header);
  bool charge(const Client& client, zmq::message_t& payload);
  SendOutcome send_to(const Client& client, zmq::message_t header, zmq::message_t payload);
  WorkerEnd& worker_at(const std::string& endpoint);
  void follow_workers();

  zmq::context_t& context_;
  RouterOptions options_;
  zmq::socket_t clients_;
  zmq::socket_t admins_;
  std::string endpoint_;
  std::string admin_endpoint_;
  std::unique_ptr<MetadLink> link_;
  std::unique_ptr<Admission> admission_;
  std::map<std::string, WorkerEnd> workers_;  // by endpoint
  TimeMs watched_;                            // when they were last asked whether their connections broke
  UnreadReplies unread_;
  Spread spread_;
  std::size_t asked_bytes_ = 0;  // of messages, by requests that were passed on in this turn
  MsgpackReader reader_;
  RequestHeader header_;
  std::deque<Held> held_;
  std::size_t held_bytes_ = 0;
  TimeMs held_due_;  // the earliest retry_at of held_
  std::deque<Confirming> confirming_;
  std::atomic<bool> ready_{false};
  std::atomic<std::uint64_t> dropped_{0};
  bool catalog_changed_ = false;
  TimeMs now_;
};

}  // namespace dmq
