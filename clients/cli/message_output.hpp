// Received messages on standard output: for people, as JSON lines, as lines, or as bare bytes.
#pragma once

#include "dmq/message.hpp"

namespace dmq::cli {

enum class OutputForm { kPeople, kJson, kLines, kRaw };

// Writes to the buffer of stdout. People see text as text, with control characters masked: a message must not
// steer the terminal. JSON holds a body that is no UTF-8 as "body_base64".
void write_message(const Lease& message, OutputForm form, bool coloured);

// Empties the buffer. False: standard output is gone (a closed pipe, a full disk).
bool flush_output();

}  // namespace dmq::cli
