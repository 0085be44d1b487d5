// dmq-sim: runs many simulated histories, and says which of them broke a rule.
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/sim/simulation.hpp"

namespace {

using dmq::sim::Outcome;
using dmq::sim::Simulation;
using dmq::sim::Violation;

struct Options {
  std::uint64_t seeds = 1000;
  std::uint64_t from = 1;
  std::uint64_t violations_max = 20;
  bool trace = false;
};

// Shared with the process that runs the seeds, which ends with a broken invariant of the product.
struct Progress {
  std::uint64_t next = 0;  // the seed after the one under way
  std::uint64_t violations = 0;
  std::uint64_t events = 0;
  std::uint64_t committed = 0;
};

void tell(const Options& options, std::uint64_t seed, const std::string& what) {
  std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), what.c_str());
  if (!options.trace) {
    std::printf("  replay: ./dev sim --from %llu --seeds 1 --trace\n", static_cast<unsigned long long>(seed));
  }
  std::fflush(stdout);
}

void run_seeds(const Options& options, Progress& progress) {
  while (progress.next < options.from + options.seeds && progress.violations < options.violations_max) {
    const std::uint64_t seed = progress.next++;
    try {
      const Outcome outcome = Simulation(seed, options.trace).run();
      progress.events += outcome.events;
      progress.committed += outcome.committed;
    } catch (const Violation& violation) {
      ++progress.violations;
      tell(options, seed, violation.what());
    }
  }
}

// A process for the seeds, and another one each time that it was ended by a broken invariant.
void run_guarded(const Options& options, Progress& progress) {
  const std::uint64_t end = options.from + options.seeds;
  while (progress.next < end && progress.violations < options.violations_max) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
      run_seeds(options, progress);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    ++progress.violations;
    tell(options, progress.next - 1, "the program ended; its words are above");
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
  app.add_flag("--trace", options.trace, "Write to stderr what happens");
  CLI11_PARSE(app, count, words);

  void* const shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  Progress& progress = *new (shared) Progress;
  progress.next = options.from;
  run_guarded(options, progress);
  const double seconds = seconds_of_core();
  const std::uint64_t done = progress.next - options.from;
  std::printf("%.0f seeds/s of a core, %llu events and %llu committed records a seed\n",
              static_cast<double>(done) / seconds,
              static_cast<unsigned long long>(progress.events / std::max<std::uint64_t>(done, 1)),
              static_cast<unsigned long long>(progress.committed / std::max<std::uint64_t>(done, 1)));
  std::printf("%llu seeds, %llu violations\n", static_cast<unsigned long long>(done),
              static_cast<unsigned long long>(progress.violations));
  return progress.violations == 0 ? 0 : 1;
}
