// What dmq export writes: a queue's settings, then its messages, each as dmq queue browse shows it; as lines of JSON or
// as MessagePack maps, one behind the other.
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
// Such a line, or that of a message, as a MessagePack map with the same keys, so that there is one list of them. Bodies
// and the values of headers are bin, and no name ends in "_base64" for it.
std::string packed_line(std::string_view line);
// Does a stream that begins so consist of such maps?
bool begins_packed(char first);

// Both throw ClientError (malformed) with what is wrong with it.
std::variant<QueueLine, MessageLine> read_transfer_line(std::string_view line,
                                                        std::chrono::system_clock::time_point now);
std::variant<QueueLine, MessageLine> read_packed_line(std::string_view packed,
                                                      std::chrono::system_clock::time_point now);

}  // namespace dmq::cli
