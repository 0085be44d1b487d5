// A lease by its message and its id, as somebody got it; it may be over.
#pragma once

#include "protocol/ids.hpp"

namespace dmq {

struct GivenLease {
  Lsn lsn;
  LeaseId id;
};

}  // namespace dmq
