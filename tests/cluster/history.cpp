// See history.hpp.
#include "tests/cluster/history.hpp"

#include <algorithm>

namespace dmq::cluster {
namespace {

constexpr std::size_t kExamplesMax = 20;

}  // namespace

std::string text_of(const MessageName& name) {
  return "queue " + std::to_string(name.queue) + ", producer " + std::to_string(name.producer) + ", counter " +
         std::to_string(name.counter);
}

History::Message* History::find(const MessageName& name) {
  const auto stream = streams_.find({name.queue, name.producer});
  if (stream == streams_.end() || name.counter >= stream->second.size()) return nullptr;
  return &stream->second[name.counter];
}

void History::note(std::uint64_t& count, const std::string& what) {
  ++count;
  if (examples_.size() < kExamplesMax) examples_.push_back(what);
}

void History::sent(const MessageName& name) {
  auto& stream = streams_[{name.queue, name.producer}];
  if (stream.size() <= name.counter) stream.resize(name.counter + 1);
  ++counts_.sent;
}

void History::confirmed(const MessageName& name) {
  find(name)->confirmed = true;
  ++counts_.confirmed;
}

void History::unconfirmed(const MessageName&) { ++counts_.unconfirmed; }

void History::delivered(const std::optional<MessageName>& name, std::uint32_t queue, std::string_view id,
                        Moment begun) {
  Message* const message = name ? find(*name) : nullptr;
  if (message == nullptr || name->queue != queue) {
    return note(counts_.invented, "invented: message " + std::string(id) + " in queue " + std::to_string(queue) +
                                      (name ? " is " + text_of(*name) : " is none that was sent"));
  }
  const auto [stored, fresh] = stored_[queue].try_emplace(std::string(id), Stored{*name});
  if (stored->second.name != *name) {
    return note(counts_.reused,
                "reused: id " + std::string(id) + " is " + text_of(*name) + " and was " + text_of(stored->second.name));
  }
  if (stored->second.acked != 0 && stored->second.acked < begun) {
    note(counts_.undone,
         "undone: " + text_of(*name) + " came again after its ack was confirmed, id " + std::string(id));
  }
  if (!fresh) {
    ++counts_.redelivered;
    return;
  }
  if (!message->id.empty()) {
    return note(counts_.doubled,
                "doubled: " + text_of(*name) + " is stored as " + message->id + " and as " + std::string(id));
  }
  message->id = id;
  ++counts_.delivered;
  std::uint64_t& next = next_first_[{name->queue, name->producer}];
  if (in_order_ && name->counter < next) {
    note(counts_.disordered, "disordered: " + text_of(*name) + " first came after counter " + std::to_string(next - 1));
  }
  next = std::max(next, name->counter + 1);
}

void History::acked(std::uint32_t queue, std::string_view id) {
  const auto stored = stored_[queue].find(std::string(id));
  if (stored == stored_[queue].end()) return;  // an invented one, told already
  if (stored->second.acked == 0) stored->second.acked = ++last_;
  ++counts_.acked;
}

Counts History::result() const {
  Counts counts = counts_;
  for (const auto& [stream, messages] : streams_) {
    for (const Message& message : messages) counts.lost += message.confirmed && message.id.empty() ? 1 : 0;
  }
  return counts;
}

std::vector<std::string> History::examples() const {
  std::vector<std::string> all = examples_;
  for (const auto& [stream, messages] : streams_) {
    for (std::uint64_t i = 0; i < messages.size(); ++i) {
      if (!messages[i].confirmed || !messages[i].id.empty()) continue;
      if (all.size() >= 2 * kExamplesMax) return all;
      all.push_back("lost: " + text_of({stream.first, stream.second, i}));
    }
  }
  return all;
}

}  // namespace dmq::cluster
