// The lines of dmq export: one with a queue's settings, then its messages, each as dmq queue browse shows it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "dmq/client.hpp"

namespace dmq::cli {

struct QueueLine {
  std::string queue;
  QueueOptions options;
};

struct MessageLine {
  std::string queue;
  OutgoingMessage message;
  bool dead = false;
  bool expired = false;  // by this machine's clock
};

// The settings of a queue as queue.describe gave them, without those that pause it.
std::string queue_line(const Value& described);
// Throws ClientError (malformed) with what is wrong with it.
std::variant<QueueLine, MessageLine> read_transfer_line(std::string_view line,
                                                        std::chrono::system_clock::time_point now);

}  // namespace dmq::cli
