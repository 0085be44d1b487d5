// Messages out of standard input: whole, cut at a delimiter, or MessagePack values.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/limits.hpp"

namespace dmq {
class Client;
}

namespace dmq::cli {

// Returns once `fd` is readable. Meanwhile the client reads its confirmations, and `goes_on` is asked again and again;
// false: it said no. Throws ClientError (interrupted) when `interrupt_fd` becomes readable.
bool await_input(int fd, int interrupt_fd, Client& client, const std::function<bool()>& goes_on);

// Reads a descriptor piece by piece and cuts it into messages. Memory: one piece and one message.
class MessageInput {
 public:
  // `wait_for_input` is called before each read and returns once the descriptor is readable, so that the program can
  // go on talking to the broker meanwhile; false stops the input.
  MessageInput(int fd, std::function<bool()> wait_for_input, std::size_t bytes_max = kMessageBytesMax);

  // The next message without its delimiter, valid until the next call; a last one needs no delimiter. Empty at the
  // end. Throws ClientError (too_large) for a message over `bytes_max`, and std::system_error.
  std::optional<std::string_view> next(char delimiter);
  // The bytes of the next MessagePack value, valid until the next call. Empty at the end. Throws ClientError
  // (malformed: it is none, or the input ends in the middle of it; too_large), and std::system_error.
  std::optional<std::string_view> next_value();
  // The first byte that was not taken yet; empty at the end.
  std::optional<char> peek();
  // All that there is, as one message.
  std::string_view whole();

 private:
  bool read_more();
  void check_size(std::size_t bytes_max, const std::string& advice) const;

  int fd_;
  std::function<bool()> wait_for_input_;
  std::size_t bytes_max_;
  std::string buffer_;
  std::size_t begin_ = 0;    // of the message that comes next
  std::size_t scanned_ = 0;  // no delimiter before here
  bool ended_ = false;
};

}  // namespace dmq::cli
