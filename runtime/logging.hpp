// The log of a daemon: spdlog to standard error, as logfmt or JSON. Never a message body.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

#include "protocol/error.hpp"

namespace dmq {

// trace, debug, info, warn, error or off. Errors: invalid_argument.
Result<spdlog::level::level_enum> log_level_from_name(const std::string& name);

// `level`: trace, debug, info, warn, error, off. `format`: logfmt or json. Errors: invalid_argument.
Result<void> set_up_logging(const std::string& program, const std::string& level, const std::string& format);

}  // namespace dmq
