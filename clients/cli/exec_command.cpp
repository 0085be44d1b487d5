// See exec_command.hpp.
#include "clients/cli/exec_command.hpp"

#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace dmq::cli {
namespace {

bool can_run(const std::string& path) {
  struct stat file {};
  return ::stat(path.c_str(), &file) == 0 && S_ISREG(file.st_mode) && ::access(path.c_str(), X_OK) == 0;
}

// Does /bin/sh know the word: a program, a builtin, a keyword?
bool shell_knows(std::string word) {
  std::string shell = "sh";
  std::string flag = "-c";
  std::string script = "command -v \"$0\" >/dev/null 2>&1";
  char* const arguments[] = {shell.data(), flag.data(), script.data(), word.data(), nullptr};
  pid_t pid = 0;
  if (const int fault = ::posix_spawn(&pid, "/bin/sh", nullptr, nullptr, arguments, environ); fault != 0) {
    throw std::system_error(fault, std::generic_category(), "cannot start /bin/sh");
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "cannot wait for /bin/sh");
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

std::optional<std::string> program_word(std::string_view command) {
  const std::size_t begin = command.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return std::nullopt;
  command.remove_prefix(begin);
  const std::string_view word = command.substr(0, command.find_first_of(" \t\n;|&<>()"));
  if (word.empty() || word.front() == '-' || word.find_first_of("'\"\\$`*?[]{}~=!#") != std::string_view::npos) {
    return std::nullopt;
  }
  return std::string(word);
}

std::optional<std::string> command_fault(std::string_view command) {
  const auto word = program_word(command);
  if (!word) return std::nullopt;
  const bool is_path = word->find('/') != std::string::npos;
  if (is_path ? can_run(*word) : shell_knows(*word)) return std::nullopt;
  return "the command '" + *word + "' is not found or cannot be run; no message was taken";
}

}  // namespace dmq::cli
