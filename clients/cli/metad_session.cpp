// See metad_session.hpp.
#include "clients/cli/metad_session.hpp"

#include <poll.h>

#include <algorithm>

#include "runtime/clock.hpp"
#include "runtime/sockets.hpp"

namespace dmq::cli {
namespace {

constexpr std::int64_t kCatalogFrameBytesMax = std::int64_t{1} << 30;
constexpr DurationMs kAskAgain{1000};  // a request that metad's end swallowed would never be answered

// What is `unavailable` in a cluster is a state that passes; metad itself is there.
Failure failure_of(const Error& error) {
  const bool passes = error.code == Errc::kUnavailable;
  return {passes ? "" : std::string(code_name(error.code)),
          error.context.empty() ? std::string(code_text(error.code)) : error.context, is_retryable(error.code)};
}

int left_ms(TimeMs until) { return static_cast<int>(std::max<std::int64_t>((until - steady_now()).value, 0)); }

}  // namespace

MetadSession::MetadSession(const std::string& endpoint, DurationMs timeout, int interrupt_fd)
    : endpoint_(endpoint),
      timeout_(timeout),
      interrupt_fd_(interrupt_fd),
      socket_(make_socket(context_, zmq::socket_type::dealer,
                          {.frame_bytes = kCatalogFrameBytesMax, .single_frames = true})) {
  if (auto connected = connect_socket(socket_, endpoint_); !connected) throw ClientError(failure_of(connected.error()));
}

MetadReplyBody MetadSession::answer_to(MetadRequestBody body) {
  const std::uint64_t id = next_id_++;
  const std::string frame = encode_metad_request({id, std::move(body)});
  const TimeMs end = steady_now() + timeout_;
  MetadReplyBody reply;
  do {
    if (!send(frame, end)) give_up();
    if (!read(id, std::min(end, steady_now() + kAskAgain), reply)) continue;
    if (const auto* error = std::get_if<Error>(&reply)) throw ClientError(failure_of(*error));
    return reply;
  } while (steady_now() < end);
  give_up();
}

void MetadSession::give_up() const {
  throw ClientError({"metad_unreachable",
                     "metad at " + endpoint_ + " gave no answer within " + std::to_string(timeout_.value) + "ms",
                     true});
}

bool MetadSession::send(const std::string& frame, TimeMs until) {
  for (;;) {
    std::vector<zmq::message_t> frames;
    frames.push_back(copy_frame(frame));
    if (send_frames(socket_, frames) == SendOutcome::kSent) return true;
    if (!wait(ZMQ_POLLOUT, until)) return false;
  }
}

// Answers to what was given up are passed over.
bool MetadSession::read(std::uint64_t id, TimeMs until, MetadReplyBody& body) {
  for (;;) {
    std::vector<zmq::message_t> frames;
    while (receive_frames(socket_, frames)) {
      if (frames.size() != 1) continue;
      auto reply = decode_metad_reply(bytes_of(frames[0]), reader_);
      if (!reply)
        throw ClientError({"internal", endpoint_ + " does not speak as metad: " + reply.error().context, false});
      if (reply->id != id) continue;
      body = std::move(reply->body);
      return true;
    }
    if (!wait(ZMQ_POLLIN, until)) return false;
  }
}

// False: nothing happened until then.
bool MetadSession::wait(short events, TimeMs until) {
  zmq::pollitem_t items[2] = {{socket_.handle(), 0, events, 0}, {nullptr, interrupt_fd_, ZMQ_POLLIN, 0}};
  if (zmq_poll(items, 2, left_ms(until)) < 0) return steady_now() < until;  // a signal: look again
  if (items[1].revents != 0) throw ClientError({"interrupted", "interrupted", false});
  return items[0].revents != 0;
}

void MetadSession::pause(DurationMs span) {
  pollfd item{interrupt_fd_, POLLIN, 0};
  if (::poll(&item, 1, static_cast<int>(span.value)) == 1) throw ClientError({"interrupted", "interrupted", false});
}

}  // namespace dmq::cli
