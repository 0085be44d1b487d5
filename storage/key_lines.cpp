// A list through the messages of each key, and one line of all that are held.
#include "storage/key_lines.hpp"

namespace dmq {

void KeyLines::learn(Lsn lsn, OrderingKey key, Priority priority) {
  messages_.emplace(lsn, Message{key, {}, {}, priority});
}

void KeyLines::forget(Lsn lsn) { messages_.erase(lsn); }

bool KeyLines::join(Lsn lsn, TimeMs ready_at) {
  Line& line = lines_[messages_.at(lsn).key];
  if (line.front.value != 0) {
    hold(line, lsn, ready_at);
    return false;
  }
  line.front = lsn;
  return true;
}

std::optional<KeyLines::Next> KeyLines::leave(Lsn lsn) {
  const auto found = lines_.find(messages_.at(lsn).key);
  if (found == lines_.end()) return std::nullopt;
  Line& line = found->second;
  if (held_.contains(lsn)) release(line, lsn);
  if (line.front != lsn) return std::nullopt;
  if (line.first_held.value == 0) {
    lines_.erase(found);
    return std::nullopt;
  }
  line.front = line.first_held;
  release(line, line.front);
  const Message& next = messages_.at(line.front);
  return Next{line.front, next.priority, next.ready_at};
}

void KeyLines::overtake(Lsn lsn, TimeMs ready_at) {
  Line& line = lines_[messages_.at(lsn).key];
  if (held_.contains(lsn)) release(line, lsn);
  const Lsn before = std::exchange(line.front, lsn);
  if (before.value != 0 && before != lsn) hold(line, before, ready_at);
}

std::optional<Lsn> KeyLines::front(Lsn lsn) const {
  const auto message = messages_.find(lsn);
  const auto line = message == messages_.end() ? lines_.end() : lines_.find(message->second.key);
  return line == lines_.end() ? std::nullopt : std::optional(line->second.front);
}

bool KeyLines::is_early(Lsn lsn) const {
  const auto message = messages_.find(lsn);
  const auto line = message == messages_.end() ? lines_.end() : lines_.find(message->second.key);
  if (line == lines_.end() || line->second.front != lsn) return false;
  return line->second.first_held.value != 0 && line->second.first_held < lsn;
}

// Nearly always the last one.
void KeyLines::hold(Line& line, Lsn lsn, TimeMs ready_at) {
  Message& message = messages_.at(lsn);
  message.ready_at = ready_at;
  message.next = {};
  held_.insert(lsn, line.last_held < lsn);
  if (line.first_held.value == 0) {
    line.first_held = line.last_held = lsn;
  } else if (line.last_held < lsn) {
    messages_.at(line.last_held).next = lsn;
    line.last_held = lsn;
  } else {
    Lsn* at = &line.first_held;
    while (*at < lsn) at = &messages_.at(*at).next;
    message.next = std::exchange(*at, lsn);
  }
}

// Nearly always the first one.
void KeyLines::release(Line& line, Lsn lsn) {
  held_.remove(lsn);
  Lsn before;
  Lsn* at = &line.first_held;
  for (; *at != lsn; at = &messages_.at(*at).next) before = *at;
  *at = messages_.at(lsn).next;
  if (line.last_held == lsn) line.last_held = before;
}

bool KeyLines::is_sound() const {
  std::size_t held = 0;
  for (const auto& [key, line] : lines_) {
    if (line.front.value == 0 || messages_.at(line.front).key != key || held_.contains(line.front)) return false;
    Lsn last;
    for (Lsn at = line.first_held; at.value != 0; at = messages_.at(at).next) {
      if (at <= last || messages_.at(at).key != key || !held_.contains(at)) return false;
      last = at;
      ++held;
    }
    if (last != line.last_held) return false;
  }
  return held == held_.size() && held_.is_sound();
}

}  // namespace dmq
