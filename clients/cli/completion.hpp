// What a shell may offer at the cursor, read from the command lines as CLI11 knows them.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace dmq::cli {

struct Candidate {
  std::string text;  // the whole word
  std::string help;  // one line, or empty
  bool operator==(const Candidate&) const = default;
};

// The queues whose names begin with `prefix`. `endpoints`: what the line gives as --broker; empty: nothing.
using QueueNames = std::function<std::vector<std::string>(const std::string& prefix, const std::string& endpoints)>;

// `words`: the line up to the cursor, the program first and the word at the cursor, which may be empty, last. Options
// are offered for a word that begins with a dash: those of the subcommand and of what is above it. What is hidden from
// --help is not offered.
std::vector<Candidate> candidates_for(const CLI::App& app, const std::vector<std::string>& words,
                                      const QueueNames& queue_names);

}  // namespace dmq::cli
