// Replies of describing operations as values, and the settings of a queue as a payload.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "dmq/value.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq {

// Throws ClientError (malformed). Map keys that are no text are refused; numbers over 2^63 become floats.
Value decode_value(std::string_view payload, MsgpackReader& reader);

// The payload of queue.create; empty when the broker's defaults do.
std::string encode_queue_settings(std::chrono::milliseconds lease);

}  // namespace dmq
