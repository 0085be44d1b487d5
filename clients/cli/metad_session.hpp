// An operator's tie to dmq-metad: one request at a time, asked again until it is answered or the time is up.
#pragma once

#include <string>
#include <variant>
#include <zmq.hpp>

#include "dmq/error.hpp"
#include "protocol/metad_messages.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq::cli {

// Belongs to one thread. Registers nothing: metad answers whoever reaches it. What it refuses, an answer that does not
// come and an interrupt are thrown as ClientError, with these codes:
//   metad_unreachable  no connection, or no answer in time; the request may have been carried out
//   interrupted        `interrupt_fd` became readable
//   others             metad's own (docs/protocol.md, "Errors"); empty for what can only be tried later
class MetadSession {
 public:
  // The endpoint may be "host:port". `timeout` is for each request.
  MetadSession(const std::string& endpoint, DurationMs timeout, int interrupt_fd);

  // REQUIRES: `body` may be carried out twice, as all requests of operators may.
  template <class Reply>
  Reply ask(MetadRequestBody body) {
    MetadReplyBody reply = answer_to(std::move(body));
    if (auto* wanted = std::get_if<Reply>(&reply)) return std::move(*wanted);
    throw ClientError({"internal", "metad at " + endpoint_ + " answered something else than was asked", false});
  }

  // Lets time pass before the next look at something that takes time.
  void pause(DurationMs span);

 private:
  MetadReplyBody answer_to(MetadRequestBody body);
  bool send(const std::string& frame, TimeMs until);
  bool read(std::uint64_t id, TimeMs until, MetadReplyBody& body);
  bool wait(short events, TimeMs until);
  [[noreturn]] void give_up() const;

  const std::string endpoint_;
  const DurationMs timeout_;
  const int interrupt_fd_;
  zmq::context_t context_;
  zmq::socket_t socket_;
  MsgpackReader reader_;
  std::uint64_t next_id_ = 1;
};

}  // namespace dmq::cli
