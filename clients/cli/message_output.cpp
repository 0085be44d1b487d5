// See message_output.hpp.
#include "clients/cli/message_output.hpp"

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "clients/cli/byte_text.hpp"
#include "clients/cli/session.hpp"
#include "dmq/error.hpp"
#include "dmq/value.hpp"

namespace dmq::cli {
namespace {

std::int64_t ms_since_1970(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

// Those that the sender gave.
std::vector<std::pair<std::string_view, std::string_view>> labels_of(const Lease& message) {
  std::vector<std::pair<std::string_view, std::string_view>> labels{{"content_type", message.content_type()},
                                                                    {"reply_to", message.reply_to()},
                                                                    {"correlation_id", message.correlation_id()},
                                                                    {"traceparent", message.traceparent()},
                                                                    {"key", message.key()}};
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  return labels;
}

void write_json(std::string& out, const Lease& message) {
  std::string line = "{\"id\":" + json_quoted(message.id()) + ",\"queue\":" + json_quoted(message.queue()) +
                     ",\"deliveries\":" + std::to_string(message.deliveries()) +
                     ",\"sent_ms\":" + std::to_string(ms_since_1970(message.sent_at()));
  if (message.priority() != 0) line += ",\"priority\":" + std::to_string(message.priority());
  if (const auto expires = message.expires_at()) line += ",\"expires_ms\":" + std::to_string(ms_since_1970(*expires));
  if (!message.reason().empty()) line += ",\"reason\":" + json_quoted(message.reason());
  if (const auto& dead = message.dead_letter()) {
    line += ",\"origin\":{\"queue\":" + json_quoted(dead->queue) + ",\"cause\":" + json_quoted(dead->cause) +
            ",\"deliveries\":" + std::to_string(dead->deliveries);
    if (!dead->reason.empty()) line += ",\"reason\":" + json_quoted(dead->reason);
    line += "}";
  }
  for (const auto& [name, text] : labels_of(message)) line += "," + json_quoted(name) + ":" + json_quoted(text);
  if (!message.headers().empty()) line += ",\"headers\":" + headers_json(message);
  out += line + "," + json_bytes("body", message.body()) + "}\n";
}

void write_for_people(std::string& out, const Lease& message, bool coloured) {
  std::string head = "message " + std::string(message.id());
  if (message.deliveries() > 1) head += ", delivery " + std::to_string(message.deliveries());
  if (message.priority() != 0) head += ", priority " + std::to_string(message.priority());
  if (!message.reason().empty()) head += ", given back: " + std::string(message.reason());
  if (const auto& dead = message.dead_letter()) {
    head += ", from " + std::string(dead->queue) + " (" + std::string(dead->cause) + ")";
    if (!dead->reason.empty()) head += ": " + std::string(dead->reason);
  }
  for (const auto& [name, text] : labels_of(message)) head += ", " + std::string(name) + ": " + std::string(text);
  for (const auto& [name, value] : message.headers()) head += ", " + std::string(name) + ": " + std::string(value);
  out += (coloured ? "\033[2m" : "") + masked(head, '?') + (coloured ? "\033[0m\n" : "\n");
  if (is_text(message.body())) {
    out += masked(message.body(), '?') + "\n";
  } else {
    out += "(" + counted(message.body().size(), "byte") + " that are no text; see them with --raw or --json)\n";
  }
}

// Waits until standard output takes something, for good when it is a pipe that nobody reads.
void wait_for_reader(int interrupt_fd) {
  pollfd items[2] = {{STDOUT_FILENO, POLLOUT, 0}, {interrupt_fd, POLLIN, 0}};
  while (items[0].revents == 0) {
    if (::poll(items, 2, -1) < 0) continue;  // a signal
    if (items[0].revents == 0 && items[1].revents != 0) throw ClientError({"interrupted", "interrupted", false});
  }
}

}  // namespace

std::string headers_json(const Lease& message) {
  std::string json = "{";
  for (const auto& header : message.headers()) {
    if (&header != &message.headers().front()) json += ",";
    json += json_bytes(header.first, header.second);
  }
  return json + "}";
}

void write_message(std::string& out, const Lease& message, OutputForm form, bool coloured) {
  switch (form) {
    case OutputForm::kPeople:
      return write_for_people(out, message, coloured);
    case OutputForm::kJson:
      return write_json(out, message);
    case OutputForm::kLines:
      out += message.body();
      out += '\n';
      return;
    case OutputForm::kRaw:
      out += message.body();
  }
}

bool flush_output(std::string& out, int interrupt_fd) {
  struct stat output {};
  const bool waits = ::fstat(STDOUT_FILENO, &output) == 0 && !S_ISREG(output.st_mode);
  for (std::size_t done = 0; done < out.size();) {
    // A pipe that is ready takes so much at once; more could block, and Ctrl-C would not be heard.
    const std::size_t piece = waits ? std::min<std::size_t>(out.size() - done, PIPE_BUF) : out.size() - done;
    if (waits) wait_for_reader(interrupt_fd);
    const ssize_t wrote = ::write(STDOUT_FILENO, out.data() + done, piece);
    if (wrote >= 0) {
      done += static_cast<std::size_t>(wrote);
    } else if (errno != EINTR && errno != EAGAIN) {
      return false;
    }
  }
  out.clear();
  return true;
}

void write_output(std::string& out, int interrupt_fd) {
  if (!flush_output(out, interrupt_fd)) throw ClientError({"", "cannot write to standard output", false});
}

}  // namespace dmq::cli
