// dmq-sim: runs many simulated histories, and says which of them broke a rule.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>

#include "tests/sim/simulation.hpp"

namespace {

using dmq::sim::Outcome;
using dmq::sim::Simulation;
using dmq::sim::Violation;

constexpr std::size_t kJobsMax = 256;

struct Options {
  std::uint64_t seeds = 1000;
  std::uint64_t from = 1;
  std::uint64_t violations_max = 20;
  std::size_t jobs = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kJobsMax);
  bool trace = false;
};

// Shared by the processes that run the seeds, each of which ends with a broken invariant of the product.
struct Progress {
  std::atomic<std::uint64_t> taken = 0;
  std::atomic<std::uint64_t> done = 0;
  std::atomic<std::uint64_t> violations = 0;
  std::atomic<std::uint64_t> events = 0;
  std::atomic<std::uint64_t> committed = 0;
  std::array<std::uint64_t, kJobsMax> under_way{};  // each job's seed
};

bool is_over(const Options& options, const Progress& progress) {
  return progress.taken >= options.seeds || progress.violations >= options.violations_max;
}

// In one piece: other processes write to the same place.
void tell(const Options& options, std::uint64_t seed, const std::string& what) {
  const std::string number = std::to_string(seed);
  std::string text = "seed " + number + ": " + what + "\n";
  if (!options.trace) text += "  replay: ./dev sim --from " + number + " --seeds 1 --trace\n";
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

void run_seeds(const Options& options, Progress& progress, std::size_t job) {
  while (!is_over(options, progress)) {
    const std::uint64_t index = progress.taken++;
    if (index >= options.seeds) return;
    const std::uint64_t seed = progress.under_way[job] = options.from + index;
    try {
      const Outcome outcome = Simulation(seed, options.trace).run();
      progress.events += outcome.events;
      progress.committed += outcome.committed;
    } catch (const Violation& violation) {
      ++progress.violations;
      tell(options, seed, violation.what());
    }
    ++progress.done;
  }
}

pid_t begin_job(const Options& options, Progress& progress, std::size_t job) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child < 0) std::abort();
  if (child > 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody is left to tell
  run_seeds(options, progress, job);
  std::exit(0);
}

// A process for each job, and another one each time that it was ended by a broken invariant.
void run_guarded(const Options& options, Progress& progress) {
  std::map<pid_t, std::size_t> running;
  for (std::size_t job = 0; job < options.jobs; ++job) running.emplace(begin_job(options, progress, job), job);
  while (!running.empty()) {
    int status = 0;
    const auto ended = running.extract(wait(&status));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    const std::size_t job = ended.mapped();
    ++progress.violations;
    ++progress.done;
    tell(options, progress.under_way[job], "the program ended; its words are above");
    if (!is_over(options, progress)) running.emplace(begin_job(options, progress, job), job);
  }
}

// Other programs on the machine do not count.
double seconds_of_core() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    getrusage(who, &used);
    seconds += static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
  }
  return std::max(seconds, 1e-6);
}

}  // namespace

int main(int count, char** words) {
  Options options;
  CLI::App app("Simulated clusters: many workers, routers and metad in one thread, with faults from a seed.");
  app.add_option("--seeds", options.seeds, "How many histories to run")->capture_default_str();
  app.add_option("--from", options.from, "Seed of the first; the others follow it")->capture_default_str();
  app.add_option("--most", options.violations_max, "Stop after so many violations")->capture_default_str();
  app.add_option("--jobs", options.jobs, "How many processes run them")
      ->check(CLI::Range(std::size_t{1}, kJobsMax))
      ->capture_default_str();
  app.add_flag("--trace", options.trace, "Write to stderr what happens");
  CLI11_PARSE(app, count, words);

  void* const shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  Progress& progress = *new (shared) Progress;
  if (options.trace) options.jobs = 1;
  run_guarded(options, progress);
  const double seconds = seconds_of_core();
  const std::uint64_t done = progress.done;
  const std::uint64_t each = std::max<std::uint64_t>(done, 1);
  std::printf("%.0f seeds/s of a core, %llu events and %llu committed records a seed\n",
              static_cast<double>(done) / seconds, static_cast<unsigned long long>(progress.events / each),
              static_cast<unsigned long long>(progress.committed / each));
  std::printf("%llu seeds, %llu violations\n", static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(progress.violations));
  return progress.violations == 0 ? 0 : 1;
}
