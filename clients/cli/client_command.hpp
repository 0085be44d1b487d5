// A subcommand that chooses what is done with a client.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>

#include "dmq/client.hpp"

namespace dmq::cli {

using ClientAction = std::function<void(Client&)>;

// The one that was given is in `action` after parsing.
inline CLI::App* add_command(CLI::App& parent, const std::string& name, const std::string& text, ClientAction& action,
                             ClientAction what) {
  CLI::App* sub = parent.add_subcommand(name, text);
  sub->fallthrough();
  sub->callback([&action, what = std::move(what)] { action = what; });
  return sub;
}

}  // namespace dmq::cli
