// Positions as they come back: which of them tell something new.
#include "router/bytes_under_way.hpp"

namespace dmq {

bool BytesUnderWay::has_room(std::size_t bytes) const {
  return this->bytes() == 0 || this->bytes() + bytes <= bytes_max_;
}

void BytesUnderWay::returned(std::uint32_t position) {
  if (position == kNoPosition) return;
  // Modulo 2^32: a position before heard_, of a late reply, is further from sent_ than heard_ is.
  if (sent_ - position < bytes()) heard_ = position;
}

}  // namespace dmq
