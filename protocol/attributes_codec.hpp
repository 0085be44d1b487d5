// Reading what travels with a body; for the codecs of this folder.
#pragma once

#include <msgpack.hpp>

#include "protocol/payload.hpp"

namespace dmq {

// Headers and labels of a message, as views. Errors: malformed, too_large, invalid_argument.
Result<Attributes> read_attributes(const msgpack::object& object);
// With `origin`: as a broker shows them.
Result<Attributes> read_shown_attributes(const msgpack::object& object);

}  // namespace dmq
