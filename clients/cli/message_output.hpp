// Received messages on standard output: for people, as JSON lines, as lines, or as bare bytes.
#pragma once

#include <string>

#include "dmq/message.hpp"

namespace dmq::cli {

enum class OutputForm { kPeople, kJson, kLines, kRaw };

// Adds the message to `out`. People see text as text, with control characters masked: a message must not steer the
// terminal. JSON holds a body that is no UTF-8 as "body_base64".
void write_message(std::string& out, const Lease& message, OutputForm form, bool coloured);

// The headers as one JSON object; a value that is no UTF-8 is "name_base64".
std::string headers_json(const Lease& message);

// Writes `out` to standard output and empties it. False: standard output is gone (a closed pipe, a full disk). Throws
// ClientError (interrupted) when the reader lets it wait and `interrupt_fd` becomes readable.
bool flush_output(std::string& out, int interrupt_fd);
// The same; throws ClientError when standard output is gone.
void write_output(std::string& out, int interrupt_fd);

}  // namespace dmq::cli
