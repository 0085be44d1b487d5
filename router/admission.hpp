// The router's core: what to do with a request, from its header and the cached catalog alone.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "protocol/catalog.hpp"
#include "protocol/header.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

struct RouterSettings {
  bool auto_create = true;     // send and receive create a queue on first use
  bool allow_delete = false;   // queue.delete on the public socket too
  std::string admin_endpoint;  // told by hello; empty: no administrators' socket
};

// Answered here: the payload of the reply, which may be empty.
struct LocalReply {
  std::string payload;
};
// Goes on to the worker that leads the queue's partition.
struct Route {
  std::string endpoint;
  PartitionId partition;
  Epoch epoch;
  QueueId queue;
  bool spread = false;  // the queue has other partitions too
};
// The queue is to be created first; then decide again.
struct CreateFirst {
  std::string name;
};
// metad writes; the reply follows its answer.
struct AskMetad {
  MetadRequestBody body;
};
using Decision = std::variant<LocalReply, Error, Route, CreateFirst, AskMetad>;

// Knows no socket, disk, thread or clock. Not thread-safe. Only the header is looked at; the payload only where
// the router itself serves the operation (queue.create).
class Admission {
 public:
  // `catalog` outlives this.
  Admission(RouterSettings settings, const CatalogCopy& catalog);

  Decision decide(const RequestHeader& header, std::string_view payload, bool admin);

  // Where requests for a partition go now. Errors: unavailable.
  Result<Route> route(PartitionId partition, QueueId queue) const;

 private:
  Error denied(std::string_view what) const;
  Decision decide_for_queue(const RequestHeader& header);
  Decision create(const RequestHeader& header, std::string_view payload);
  Decision update(const RequestHeader& header, std::string_view payload);
  std::string hello() const;
  std::string list(const RequestHeader& header) const;

  const RouterSettings settings_;
  const CatalogCopy& catalog_;
  MsgpackReader reader_;
};

}  // namespace dmq
