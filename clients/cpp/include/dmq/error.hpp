// How the client library reports what went wrong.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace dmq {

// Why a request, or one message of it, did not succeed.
//
// `code` is a code of the protocol ("no_such_queue", "denied", "stale_receipt", ...; docs/protocol.md, "Errors") or
// one that only the client library knows:
//   unreachable  no broker answered the connection; nothing was sent
//   timeout      sent, no reply in time; a receive or a query can simply be asked again
//   unconfirmed  a message was sent and its confirmation never came: it may or may not be in the queue
//   interrupted  ClientOptions::interrupt_fd became readable
//   closed       the client was closed before the request was done
struct Failure {
  std::string code;
  std::string message;  // a sentence for a person: what failed, on what, what to try
  bool retry = false;   // the same request may succeed later
};

class ClientError : public std::runtime_error {
 public:
  explicit ClientError(Failure failure) : std::runtime_error(failure.message), failure_(std::move(failure)) {}
  const std::string& code() const { return failure_.code; }
  const Failure& failure() const { return failure_; }

 private:
  Failure failure_;
};

}  // namespace dmq
