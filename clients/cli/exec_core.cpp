// See exec_core.hpp.
#include "clients/cli/exec_core.hpp"

#include <algorithm>

#include "clients/cli/session.hpp"

namespace dmq::cli {

int ExecTally::exit_code() const {
  if (all() == 0) return kExitNothing;
  if (all() == done) return kExitOk;
  return done == 0 ? kExitError : kExitPartly;
}

std::string ExecTally::text() const {
  std::string text = counted(done, "message") + " done";
  if (failed != 0) text += ", " + grouped(failed) + " given back";
  if (lost != 0) text += ", " + grouped(lost) + " done too late: others get or got them";
  return text;
}

std::size_t ExecCore::wanted() const {
  if (stopped_ || asked_) return 0;
  return static_cast<std::size_t>(std::min<std::uint64_t>(messages_max_ - taken_, concurrency_ - open()));
}

void ExecCore::on_received(std::size_t messages) {
  asked_ = false;
  taken_ += messages;
  if (taken_ >= messages_max_) stopped_ = true;
}

void ExecCore::on_settled(ExecOutcome outcome) {
  switch (outcome) {
    case ExecOutcome::kDone:
      ++tally_.done;
      return;
    case ExecOutcome::kFailed:
      ++tally_.failed;
      return;
    case ExecOutcome::kLost:
      ++tally_.lost;
  }
}

bool ExecCore::finished() const { return stopped_ && open() == 0; }

}  // namespace dmq::cli
