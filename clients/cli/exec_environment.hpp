// The environment of a command that works on a message.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dmq/message.hpp"

namespace dmq::cli {

// "NAME=value" each: what this program inherited, with the message in DMQ_* variables (dmq-recv --help lists them) and
// `endpoints` in DMQ_ENDPOINT. Of two headers whose variables have one name the first one has it; a value with a zero
// byte, which no variable can hold, is in DMQ_HEADERS only.
std::vector<std::string> exec_environment(const Lease& message, std::string_view endpoints,
                                          const char* const* inherited);

}  // namespace dmq::cli
