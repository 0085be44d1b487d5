// Whether the command of --exec is there.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace dmq::cli {

// The word that names the program of a shell's command line; empty where that takes a shell to know: with quotes,
// variables, assignments and the like.
std::optional<std::string> program_word(std::string_view command);

// Why /bin/sh would not find the command, in a sentence; empty when it does, or when only running it can tell.
std::optional<std::string> command_fault(std::string_view command);

}  // namespace dmq::cli
