// See history.hpp.
#include "tests/cluster/history.hpp"

#include <algorithm>
#include <charconv>

namespace dmq::cluster {
namespace {

constexpr std::size_t kExamplesMax = 20;

// The place in its partition's log, from "PARTITION-LSN"; 0: the id tells none.
std::uint64_t place_of(std::string_view id) {
  const std::size_t dash = id.find('-');
  std::uint64_t place = 0;
  if (dash != std::string_view::npos) std::from_chars(id.data() + dash + 1, id.data() + id.size(), place);
  return place;
}

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

template <class Fault>
void History::judge_end(Fault fault) const {
  for (const auto& [stream, messages] : streams_) {
    std::uint64_t before = 0;
    for (std::uint64_t i = 0; i < messages.size(); ++i) {
      const MessageName name{stream.first, stream.second, i};
      if (messages[i].id.empty()) {
        if (messages[i].confirmed) fault("lost: " + text_of(name), &Counts::lost);
        continue;
      }
      const std::uint64_t place = place_of(messages[i].id);
      if (place < before)
        fault("disordered: " + text_of(name) + " is stored before an earlier one", &Counts::disordered);
      before = std::max(before, place);
    }
  }
}

Counts History::result() const {
  Counts counts = counts_;
  judge_end([&](const std::string&, std::uint64_t Counts::*count) { ++(counts.*count); });
  return counts;
}

std::vector<std::string> History::examples() const {
  std::vector<std::string> all = examples_;
  judge_end([&](const std::string& what, std::uint64_t Counts::*) {
    if (all.size() < 2 * kExamplesMax) all.push_back(what);
  });
  return all;
}

}  // namespace dmq::cluster
