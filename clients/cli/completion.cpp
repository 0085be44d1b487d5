// See completion.hpp.
#include "clients/cli/completion.hpp"

#include <algorithm>

namespace dmq::cli {
namespace {

// Subcommands, or the groups of options, which CLI11 keeps as subcommands without a name.
std::vector<const CLI::App*> parts_of(const CLI::App& app, bool groups) {
  return app.get_subcommands([groups](const CLI::App* part) { return part->get_name().empty() == groups; });
}

std::vector<const CLI::Option*> options_of(const CLI::App& app) {
  std::vector<const CLI::Option*> options = app.get_options([](const CLI::Option*) { return true; });
  for (const CLI::App* group : parts_of(app, true)) {
    const auto more = options_of(*group);
    options.insert(options.end(), more.begin(), more.end());
  }
  return options;
}

// "--name" of all its names, "-n" where it has no long one.
std::string typed_name(const CLI::Option& option) {
  if (!option.get_lnames().empty()) return "--" + option.get_lnames().front();
  return "-" + option.get_snames().front();
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// Of what help shows as {auto,after,none}.
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{');
  const std::size_t end = type.find('}', std::min(begin, type.size()));
  if (begin == std::string::npos || end == std::string::npos) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

// Follows the words of a line through the commands.
class Line {
 public:
  explicit Line(const CLI::App& app) : app_(&app) {}

  void take(const std::string& word) {
    if (pending_ != nullptr) return note_value(*std::exchange(pending_, nullptr), word);
    if (word == "--" && !only_positionals_) {
      only_positionals_ = true;
    } else if (!only_positionals_ && word.size() > 1 && word[0] == '-') {
      take_option(word);
    } else if (const CLI::App* sub = find_subcommand(word); sub != nullptr) {
      app_ = sub;
      positionals_ = 0;
    } else {
      ++positionals_;
    }
  }

  std::vector<Candidate> candidates(const std::string& word, const QueueNames& queue_names) const {
    std::vector<Candidate> found;
    const std::size_t equals = word.find('=');
    if (pending_ != nullptr) {
      add_values(found, "", choices_of(*pending_), word);
    } else if (!only_positionals_ && !word.empty() && word[0] == '-' && equals == std::string::npos) {
      add_options(found, word);
    } else if (!only_positionals_ && word.starts_with("--")) {
      const CLI::Option* option = find_option(word.substr(0, equals));
      if (option != nullptr) add_values(found, word.substr(0, equals + 1), choices_of(*option), word);
    } else {
      add_subcommands(found, word);
      add_positional(found, word, queue_names);
    }
    return found;
  }

 private:
  void take_option(const std::string& word) {
    const std::size_t equals = word.find('=');
    const CLI::Option* option = find_option(word.substr(0, equals));
    if (option == nullptr || !takes_value(*option)) return;
    if (equals != std::string::npos) return note_value(*option, word.substr(equals + 1));
    pending_ = option;
  }

  void note_value(const CLI::Option& option, const std::string& value) {
    if (option.check_lname("broker")) endpoints_ = value;
  }

  // Here or in a command above, whose options are understood here too.
  const CLI::Option* find_option(const std::string& name) const {
    for (const CLI::App* app = app_; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : options_of(*app)) {
        if (option->nonpositional() && option->check_name(name)) return option;
      }
    }
    return nullptr;
  }

  const CLI::App* find_subcommand(const std::string& name) const {
    if (only_positionals_) return nullptr;
    for (const CLI::App* sub : parts_of(*app_, false)) {
      if (sub->get_name() == name) return sub;
    }
    return nullptr;
  }

  void add_options(std::vector<Candidate>& found, const std::string& word) const {
    for (const CLI::App* app = app_; app != nullptr; app = app->get_parent()) {
      for (const CLI::Option* option : options_of(*app)) {
        if (!option->nonpositional() || option->get_group().empty()) continue;
        Candidate candidate{typed_name(*option), option->get_description()};
        const bool twice = std::any_of(found.begin(), found.end(),
                                       [&](const Candidate& other) { return other.text == candidate.text; });
        if (!twice && candidate.text.starts_with(word)) found.push_back(std::move(candidate));
      }
    }
  }

  void add_subcommands(std::vector<Candidate>& found, const std::string& word) const {
    for (const CLI::App* sub : parts_of(*app_, false)) {
      const bool shown = !only_positionals_ && !sub->get_group().empty();
      if (shown && sub->get_name().starts_with(word)) found.push_back({sub->get_name(), sub->get_description()});
    }
  }

  void add_positional(std::vector<Candidate>& found, const std::string& word, const QueueNames& queue_names) const {
    std::size_t number = 0;
    for (const CLI::Option* option : options_of(*app_)) {
      if (!option->get_positional() || number++ != positionals_) continue;
      if (option->get_name(true) == "QUEUE") return add_values(found, "", queue_names(word, endpoints_), word);
      return add_values(found, "", choices_of(*option), word);
    }
  }

  static void add_values(std::vector<Candidate>& found, const std::string& before,
                         const std::vector<std::string>& values, const std::string& word) {
    for (const std::string& value : values) {
      if ((before + value).starts_with(word)) found.push_back({before + value, ""});
    }
  }

  const CLI::App* app_;
  const CLI::Option* pending_ = nullptr;  // its value comes next
  std::size_t positionals_ = 0;           // that app_ has
  bool only_positionals_ = false;         // after "--"
  std::string endpoints_;
};

}  // namespace

std::vector<Candidate> candidates_for(const CLI::App& app, const std::vector<std::string>& words,
                                      const QueueNames& queue_names) {
  if (words.size() < 2) return {};
  Line line(app);
  for (std::size_t i = 1; i + 1 < words.size(); ++i) line.take(words[i]);
  return line.candidates(words.back(), queue_names);
}

}  // namespace dmq::cli
