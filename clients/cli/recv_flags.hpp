// The command line of dmq-recv.
#pragma once

#include <string>

#include "clients/cli/session.hpp"

namespace dmq::cli {

struct RecvFlags {
  BrokerFlags broker;
  std::string queue;
  std::uint64_t count = 0;
  DurationMs wait{0};
  DurationMs lease{0};
  std::uint64_t credit = 0;  // 0: each batch is asked for
  bool follow = false;
  bool lines = false;
  bool json = false;
  bool raw = false;
  std::string ack = "auto";
  std::string consumer;     // empty: it has no name
  DurationMs heartbeat{0};  // 0: it may be silent
  std::string exec;         // empty: messages are written to standard output
  std::size_t concurrency = 1;
  DurationMs nack_delay{1000};
};

// What of the flags each receive says, whatever it is for.
ReceiveOptions receive_options(const RecvFlags& flags);

// All of it, help too. `flags` must outlive the app.
void add_recv_flags(CLI::App& app, RecvFlags& flags);

}  // namespace dmq::cli
