// One line an event; time in UTC with milliseconds.
#include "runtime/logging.hpp"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <nlohmann/json.hpp>

namespace dmq {
namespace {

// The message as a JSON or logfmt string: quotes and control characters are escaped.
class QuotedMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const nlohmann::json text(std::string(message.payload.begin(), message.payload.end()));
    const std::string quoted = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<QuotedMessage>(); }
};

}  // namespace

Result<spdlog::level::level_enum> log_level_from_name(const std::string& name) {
  const auto level = spdlog::level::from_str(name);  // off also for what it does not know
  if (level != spdlog::level::off || name == "off") return level;
  return fail(Errc::kInvalidArgument, "log level '" + name + "' is not trace, debug, info, warn, error or off");
}

Result<void> set_up_logging(const std::string& program, const std::string& level, const std::string& format) {
  const auto known = log_level_from_name(level);
  if (!known) return tl::unexpected<Error>(known.error());
  auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
  formatter->add_flag<QuotedMessage>('*');
  if (format == "json") {
    formatter->set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","program":"%n","message":%*})");
  } else if (format == "logfmt") {
    formatter->set_pattern("time=%Y-%m-%dT%H:%M:%S.%eZ level=%l program=%n msg=%*");
  } else {
    return fail(Errc::kInvalidArgument, "log format '" + format + "' is not logfmt or json");
  }
  auto logger = std::make_shared<spdlog::logger>(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_level(*known);
  logger->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(logger));
  return {};
}

}  // namespace dmq
