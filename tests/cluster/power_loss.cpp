// See power_loss.hpp.
#include "tests/cluster/power_loss.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "tests/cluster/undo_record.hpp"

namespace dmq::cluster {
namespace {

constexpr std::int64_t kPage = 4096;

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Note {
  UndoRecord record;
  const char* bytes;
};

std::vector<Note> notes_of(const std::string& journal) {
  std::vector<Note> notes;
  std::size_t at = 0;
  while (at + sizeof(UndoRecord) <= journal.size()) {
    Note note{};
    std::memcpy(&note.record, journal.data() + at, sizeof note.record);
    at += sizeof note.record;
    if (at + static_cast<std::size_t>(note.record.size) > journal.size()) break;
    note.bytes = journal.data() + at;
    at += static_cast<std::size_t>(note.record.size);
    notes.push_back(note);
  }
  return notes;
}

// The latest first: what an earlier note brings back lies under what a later one does.
std::size_t undo(const std::filesystem::path& target, const std::string& journal, std::mt19937_64& random) {
  std::vector<Note> notes = notes_of(journal);
  const int fd = ::open(target.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  // A disk may have written nearly all, nearly nothing, or half of it.
  const std::uint64_t percent = random() % 101;
  std::size_t undone = 0;
  std::reverse(notes.begin(), notes.end());
  for (const Note& note : notes) {
    for (std::int64_t done = 0; done < note.record.size; done += kPage) {
      if (random() % 100 >= percent) continue;
      const auto size = static_cast<std::size_t>(std::min(kPage, note.record.size - done));
      if (::pwrite(fd, note.bytes + done, size, note.record.offset + done) < 0) {
        throw std::runtime_error("cannot write " + target.string());
      }
      ++undone;
    }
  }
  ::close(fd);
  return undone;
}

}  // namespace

std::size_t lose_power(const std::string& journals, std::mt19937_64& random) {
  std::size_t undone = 0;
  for (const auto& entry : std::filesystem::directory_iterator(journals)) {
    if (entry.path().extension() != ".undo") continue;
    std::filesystem::path path = entry.path();
    undone += undo(content_of(path.replace_extension(".path")), content_of(entry.path()), random);
  }
  return undone;
}

void forget_journals(const std::string& journals) {
  for (const auto& entry : std::filesystem::directory_iterator(journals)) std::filesystem::remove(entry.path());
}

}  // namespace dmq::cluster
