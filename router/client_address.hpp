// Whom to answer.
#pragma once

#include <string>

namespace dmq {

struct ClientAddress {
  std::string routing_id;
  bool delimiter = false;  // its empty frame goes back too
  bool admin = false;      // on the administrators' socket
  std::string key() const { return (admin ? 'a' : 'c') + routing_id; }
};

}  // namespace dmq
