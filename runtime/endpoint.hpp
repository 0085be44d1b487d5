// Endpoints as people write them, looked at before any socket is.
#pragma once

#include <string_view>

#include "protocol/error.hpp"

namespace dmq {

enum class EndpointUse {
  kListen,   // a port may be *: the system chooses one
  kConnect,  // of a peer: one host, one port
  kAdmin,    // to listen on, for administrators: reached from this machine only
};

// Is it host:port, tcp://host:port, ipc://path or inproc://name, and fit for its use? Whether the host is there is seen
// at the start. Errors: invalid_argument, one sentence that names the flag and what to write instead.
Result<void> check_endpoint(std::string_view flag, std::string_view endpoint, EndpointUse use);

// Does a TCP endpoint listen on every interface, so that its text is of no use to a peer?
bool is_everywhere(std::string_view endpoint);

}  // namespace dmq
