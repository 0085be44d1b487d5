// See completion_commands.hpp.
#include "clients/cli/completion_commands.hpp"

#include <algorithm>
#include <iostream>

#include "clients/cli/completion.hpp"
#include "clients/cli/recv_flags.hpp"
#include "clients/cli/send_flags.hpp"

namespace dmq::cli {
namespace {

constexpr DurationMs kPatience{500};  // for the names of queues; who types does not wait longer

constexpr const char* kExamples = R"(
Examples:
  source <(dmq completion bash)             in ~/.bashrc
  source <(dmq completion zsh)              in ~/.zshrc, after compinit
  dmq completion fish | source              in ~/.config/fish/config.fish

Names of queues are completed where the broker answers (DMQ_ENDPOINT, or --broker on the line). The scripts ask the
installed dmq at each key, so they never need to be made again.)";

// Bash cuts words at = and : too, and wants only what comes behind the last of them.
constexpr const char* kBash = R"(# Completion of dmq, dmq-send and dmq-recv for bash: source <(dmq completion bash)
_dmq_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" at_cursor="${COMP_WORDS[COMP_CWORD]}" words word before="" candidate
  read -ra words <<<"$line"
  [[ $line != *[[:space:]] ]] || words+=("")
  word="${words[${#words[@]} - 1]}"
  [[ $at_cursor == *[!=:]* ]] || at_cursor=""
  [[ $word != *[=:]* || $word != *"$at_cursor" ]] || before="${word%"$at_cursor"}"
  local dmq=dmq
  [[ ${words[0]} != */* ]] || dmq="${words[0]%/*}/dmq"
  COMPREPLY=()
  while IFS=$'\t' read -r candidate _; do
    COMPREPLY+=("${candidate#"$before"}")
  done < <("$dmq" completion candidates -- "${words[@]}" 2>/dev/null)
}
complete -o default -F _dmq_complete dmq dmq-send dmq-recv
)";

constexpr const char* kZsh = R"(#compdef dmq dmq-send dmq-recv
# Completion of dmq, dmq-send and dmq-recv for zsh: source <(dmq completion zsh)
_dmq_complete() {
  local -a candidates
  local line help dmq=dmq
  [[ ${words[1]} != */* ]] || dmq="${words[1]%/*}/dmq"
  while IFS= read -r line; do
    help="${line#*$'\t'}"
    candidates+=("${${line%%$'\t'*}//:/\\:}${help:+:$help}")
  done < <("$dmq" completion candidates -- "${(@)words[1,CURRENT]}" 2>/dev/null)
  if (( ${#candidates} )); then
    _describe 'dmq' candidates
  else
    _files
  fi
}
if [[ ${funcstack[1]} == _dmq ]]; then
  _dmq_complete "$@"
else
  compdef _dmq_complete dmq dmq-send dmq-recv
fi
)";

constexpr const char* kFish = R"(# Completion of dmq, dmq-send and dmq-recv for fish: dmq completion fish | source
function __dmq_complete
    set -l before (commandline -opc)
    set -l word (commandline -ct)
    set -l dmq (string replace -r '[^/]*$' dmq -- $before[1])
    $dmq completion candidates -- $before "$word" 2>/dev/null
end
for program in dmq dmq-send dmq-recv
    complete -c $program -f -a '(__dmq_complete)'
end
)";

// None when the broker does not answer: a completion has nothing to say about that.
std::vector<std::string> names_of_queues(const std::string& prefix, const std::string& endpoints) {
  BrokerFlags flags;
  flags.broker = endpoints;
  flags.timeout = kPatience;
  std::vector<std::string> names;
  try {
    for (const Value& queue : Client(client_options(flags)).list_queues(prefix)) names.push_back(queue.text("name"));
  } catch (const ClientError&) {
    names.clear();
  }
  return names;
}

void print_candidates(const CLI::App& root, const std::vector<std::string>& words, const BrokerFlags& broker) {
  if (words.empty()) return;
  const QueueNames queue_names = [&broker](const std::string& prefix, const std::string& endpoints) {
    return names_of_queues(prefix, endpoints.empty() ? broker.broker : endpoints);
  };
  const std::string program = words.front().substr(words.front().rfind('/') + 1);
  SendFlags send_flags;
  RecvFlags recv_flags;
  CLI::App other;
  if (program == "dmq-send") add_send_flags(other, send_flags);
  if (program == "dmq-recv") add_recv_flags(other, recv_flags);
  for (const Candidate& each : candidates_for(program == "dmq" ? root : other, words, queue_names)) {
    std::cout << each.text << '\t' << each.help << '\n';
  }
}

}  // namespace

void add_completion_commands(CLI::App& root, const BrokerFlags& broker, std::vector<std::string>& words,
                             std::function<void()>& action) {
  CLI::App& completion = *root.add_subcommand("completion", "A script for a shell, so that it completes what is typed");
  completion.footer(kExamples);
  completion.require_subcommand(1);
  for (const auto& [shell, script] : {std::pair("bash", kBash), {"zsh", kZsh}, {"fish", kFish}}) {
    CLI::App* sub = completion.add_subcommand(shell, std::string("The script for ") + shell);
    sub->callback([&action, text = script] { action = [text] { std::cout << text; }; });
  }
  CLI::App* candidates = completion.add_subcommand("candidates", "What the scripts ask for");
  candidates->group("");
  candidates->add_option("WORDS", words, "The line up to the cursor, word by word, after --");
  candidates->callback([&] { action = [&] { print_candidates(root, words, broker); }; });
}

}  // namespace dmq::cli
