// See backup_commands.hpp.
#include "clients/cli/backup_commands.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <system_error>
#include <vector>

#include "clients/cli/progress.hpp"
#include "clients/cli/queue_rows.hpp"
#include "clients/cli/session.hpp"
#include "runtime/staged_directory.hpp"

namespace dmq::cli {
namespace {

namespace fs = std::filesystem;

constexpr int kLookMs = 200;  // at how much is copied

// The one beside this program, else that of the path.
std::string broker_program() {
  std::error_code fault;
  const fs::path beside = fs::read_symlink("/proc/self/exe", fault).parent_path() / "dmq-broker";
  return fs::exists(beside, fault) ? beside.string() : "dmq-broker";
}

// What a program says on one of its outputs, a line or two, until it is to be seen.
class Said {
 public:
  Said() {
    if (::pipe2(ends_, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
  }
  ~Said() {
    for (const int end : ends_) ::close(end);
  }
  Said(const Said&) = delete;
  Said& operator=(const Said&) = delete;
  int writing_end() const { return ends_[1]; }
  // Of a program that has ended.
  std::string take() {
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);  // this end of it is open still
    std::string text(PIPE_BUF, '\0');
    const ssize_t got = ::read(ends_[0], text.data(), text.size());
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }

 private:
  int ends_[2];
};

// In a process group of its own, which a terminal's Ctrl-C does not reach. Throws std::system_error.
pid_t start(const std::vector<std::string>& words, const Said& output, const Said& errors) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, output.writing_end(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&files, errors.writing_end(), STDERR_FILENO);
  pid_t pid = 0;
  const int reason = posix_spawnp(&pid, arguments[0], &files, &attributes, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (reason != 0) throw std::system_error(reason, std::generic_category(), "cannot run " + words[0]);
  return pid;
}

std::uint64_t bytes_below(const std::string& path) {
  std::error_code fault;
  std::uint64_t bytes = 0;
  for (fs::recursive_directory_iterator entry(path, fault), end; !fault && entry != end; entry.increment(fault)) {
    std::error_code gone;
    const std::uintmax_t size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) bytes += size;
  }
  return bytes;
}

// Waits for `pid`; shows how much is there meanwhile. False: interrupted.
bool watch(pid_t pid, const std::string& partial, const BackupFlags& flags) {
  Progress progress("copied", !flags.quiet);
  const int ended = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  if (ended < 0) throw std::system_error(errno, std::generic_category(), "pidfd_open");
  pollfd items[2] = {{ended, POLLIN, 0}, {flags.interrupt_fd, POLLIN, 0}};
  while (items[0].revents == 0 && items[1].revents == 0) {
    ::poll(items, 2, kLookMs);
    progress.show_text(bytes_text(static_cast<std::int64_t>(bytes_below(partial))));
  }
  ::close(ended);
  progress.clear();
  return items[0].revents != 0;
}

void run(BackupFlags& flags, const std::vector<std::string>& words, const std::string& made) {
  const std::string partial = StagedDirectory::partial_name(made);
  Said output;
  Said errors;
  const pid_t pid = start(words, output, errors);
  const bool ended = watch(pid, partial, flags);
  if (!ended) ::kill(pid, SIGTERM);
  int status = 0;
  ::waitpid(pid, &status, 0);
  std::cerr << errors.take() << std::flush;
  std::cout << output.take();
  if (WIFEXITED(status)) {
    flags.exit_code = WEXITSTATUS(status);
    return;
  }
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  if (!ended) throw ClientError({"interrupted", "interrupted; nothing is left of " + made, false});
  throw ClientError({"", words[0] + " was ended by signal " + std::to_string(WTERMSIG(status)), false});
}

CLI::App& add_local(CLI::App& app, const std::string& name, const std::string& text, std::function<void()>& action,
                    std::function<void()> what) {
  CLI::App* sub = app.add_subcommand(name, text);
  sub->fallthrough();
  sub->callback([&action, what = std::move(what)] { action = what; });
  return *sub;
}

}  // namespace

void add_backup_commands(CLI::App& app, BackupFlags& flags, std::function<void()>& action) {
  CLI::App& backup = add_local(app, "backup", "Copy all that a running broker has on disk", action, [&flags] {
    run(flags, {broker_program(), "--data", flags.from, "--backup-to", flags.to}, flags.to);
  });
  backup.footer(
      "Run it on the broker's machine, as the broker's user. What was confirmed before it began is in the copy, all\n"
      "of it as of one moment. It takes the directory of a dmq-storage or a dmq-metad too. The broker's files grow by\n"
      "what is written meanwhile. Examples:\n"
      "  dmq backup /var/lib/dmq /backup/monday\n"
      "  dmq restore /backup/monday /var/lib/dmq");
  backup.add_option("DATA_DIR", flags.from, "What --data of the broker names")->required();
  backup.add_option("DESTINATION", flags.to, "A directory that is not there yet, or empty")->required();
  backup.add_flag("-q,--quiet", flags.quiet, "No progress");
  CLI::App& restoring = add_local(app, "restore", "Make a data directory of a backup", action, [&flags] {
    run(flags, {broker_program(), "--data", flags.to, "--restore-from", flags.from}, flags.to);
  });
  restoring.footer(
      "The backup stays as it is. Nothing that was given after the backup is given again, so receipts of that time "
      "are\n"
      "stale. Example:\n"
      "  dmq restore /backup/monday /var/lib/dmq && dmq-broker --data /var/lib/dmq");
  restoring.add_option("BACKUP", flags.from, "What dmq backup made")->required();
  restoring.add_option("DATA_DIR", flags.to, "A directory that is not there yet, or empty")->required();
  restoring.add_flag("-q,--quiet", flags.quiet, "No progress");
}

}  // namespace dmq::cli
