// See message_input.hpp.
#include "clients/cli/message_input.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "dmq/client.hpp"
#include "protocol/msgpack_reader.hpp"

namespace dmq::cli {
namespace {

constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr std::size_t kValueBytesMax = kMessageBytesMax + (1 << 20);  // a body with all that belongs to it

}  // namespace

// With no confirmation to come, this sleeps until input comes.
bool await_input(int fd, int interrupt_fd, Client& client, const std::function<bool()>& goes_on) {
  while (goes_on()) {
    pollfd items[2] = {{fd, POLLIN, 0}, {interrupt_fd, POLLIN, 0}};
    const int ready = ::poll(items, 2, client.unconfirmed() == 0 ? -1 : 0);
    if (ready > 0 && items[1].revents != 0) throw ClientError({"interrupted", "interrupted", false});
    if (ready > 0) return true;
    client.poll(std::chrono::milliseconds(20));
  }
  return false;
}

MessageInput::MessageInput(int fd, std::function<bool()> wait_for_input, std::size_t bytes_max)
    : fd_(fd), wait_for_input_(std::move(wait_for_input)), bytes_max_(bytes_max) {}

std::optional<std::string_view> MessageInput::next(char delimiter) {
  while (true) {
    const std::size_t end = buffer_.find(delimiter, scanned_);
    if (end != std::string::npos) {
      const std::string_view message = std::string_view(buffer_).substr(begin_, end - begin_);
      begin_ = scanned_ = end + 1;
      return message;
    }
    scanned_ = buffer_.size();
    check_size(bytes_max_, "; is the delimiter right?");
    if (read_more()) continue;
    if (begin_ == buffer_.size()) return std::nullopt;
    const std::string_view rest = std::string_view(buffer_).substr(begin_);
    begin_ = buffer_.size();
    return rest;
  }
}

std::optional<std::string_view> MessageInput::next_value() {
  while (true) {
    const std::string_view rest = std::string_view(buffer_).substr(begin_);
    const auto bytes = first_value_bytes(rest);
    if (!bytes) throw ClientError({"malformed", bytes.error().context, false});
    if (*bytes > 0) {
      begin_ = scanned_ = begin_ + *bytes;
      return rest.substr(0, *bytes);
    }
    check_size(std::min(bytes_max_, kValueBytesMax), "");
    if (read_more()) continue;
    if (begin_ == buffer_.size()) return std::nullopt;
    throw ClientError({"malformed", "the input ends in the middle of it", false});
  }
}

std::optional<char> MessageInput::peek() {
  while (begin_ == buffer_.size()) {
    if (!read_more()) return std::nullopt;
  }
  return buffer_[begin_];
}

void MessageInput::check_size(std::size_t bytes_max, const std::string& advice) const {
  if (buffer_.size() - begin_ <= bytes_max) return;
  throw ClientError({"too_large",
                     "the input has a message over the limit of " + std::to_string(bytes_max >> 20) + " MiB" + advice,
                     false});
}

std::string_view MessageInput::whole() {
  while (read_more()) {
    if (buffer_.size() <= kMessageBytesMax) continue;
    throw ClientError(
        {"too_large",
         "the input is over 16 MiB, the limit of one message; with --lines each line is a message of its own", false});
  }
  return buffer_;
}

bool MessageInput::read_more() {
  if (ended_) return false;
  buffer_.erase(0, begin_);
  scanned_ -= begin_;
  begin_ = 0;
  if (!wait_for_input_()) {
    ended_ = true;
    return false;
  }
  const std::size_t used = buffer_.size();
  buffer_.resize(used + kPieceBytes);
  const ssize_t got = ::read(fd_, buffer_.data() + used, kPieceBytes);
  buffer_.resize(used + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (got < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "cannot read the input");
  ended_ = got == 0;
  return !ended_;
}

}  // namespace dmq::cli
