// Replies of describing operations as values.
#pragma once

#include <string_view>

#include "dmq/value.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

// Throws ClientError (malformed). Map keys that are no text are refused; numbers over 2^63 become floats.
Value decode_value(std::string_view payload, MsgpackReader& reader);

}  // namespace dmq
