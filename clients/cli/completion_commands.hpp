// dmq completion: scripts that let bash, zsh and fish complete dmq, dmq-send and dmq-recv.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "clients/cli/session.hpp"

namespace dmq::cli {

// The scripts know nothing themselves: at each key they ask `dmq completion candidates -- WORDS...`, so they are right
// for the programs that are installed.
//
// Adds the subcommands to the root of dmq, which outlives what is put into `action`: it writes to standard output.
// `words` and `broker` hold what is parsed.
void add_completion_commands(CLI::App& root, const BrokerFlags& broker, std::vector<std::string>& words,
                             std::function<void()>& action);

}  // namespace dmq::cli
