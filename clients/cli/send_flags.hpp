// The command line of dmq-send.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clients/cli/session.hpp"

namespace dmq::cli {

struct SendFlags {
  BrokerFlags broker;
  std::string queue;
  std::optional<std::string> body;
  bool lines = false;
  std::string delimiter;
  std::uint64_t count = 0;
  std::vector<std::string> headers;
  OutgoingMessage message;  // what needs no conversion
  DurationMs delay{0};
  std::string at;
  DurationMs ttl{-1};  // as the queue says
  double rate = 0;     // messages a second; 0: as fast as they come
  std::uint64_t window = 1000;
  bool quiet = false;
  bool json = false;
};

// All of it, help too. `flags` must outlive the app.
void add_send_flags(CLI::App& app, SendFlags& flags);

}  // namespace dmq::cli
