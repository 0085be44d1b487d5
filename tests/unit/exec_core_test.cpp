// dmq-recv --exec: how many messages are asked for, when it is over, and which exit code says how it went.
#include "clients/cli/exec_core.hpp"

#include <catch2/catch.hpp>

#include "clients/cli/session.hpp"

namespace dmq::cli {
namespace {

ExecTally tally(std::uint64_t done, std::uint64_t failed, std::uint64_t lost) {
  ExecTally made;
  made.done = done;
  made.failed = failed;
  made.lost = lost;
  return made;
}

}  // namespace

TEST_CASE("messages are asked for by one request at a time, for as many as may run", "[client][cli]") {
  ExecCore core(UINT64_MAX, 3);
  CHECK(core.wanted() == 3);
  core.on_asked();
  CHECK(core.wanted() == 0);
  core.on_received(2);
  CHECK(core.open() == 2);
  CHECK(core.wanted() == 1);
  core.on_asked();
  core.on_settled(ExecOutcome::kDone);
  CHECK(core.wanted() == 0);  // the request is still under way
  core.on_received(0);
  CHECK(core.wanted() == 2);
  CHECK_FALSE(core.finished());
}

TEST_CASE("not more messages are taken than were wanted, and it is over when the last one is settled",
          "[client][cli]") {
  ExecCore core(3, 2);
  core.on_asked();
  core.on_received(2);
  core.on_settled(ExecOutcome::kFailed);
  CHECK(core.wanted() == 1);
  core.on_asked();
  core.on_received(1);
  CHECK(core.stopped());
  CHECK(core.wanted() == 0);
  core.on_settled(ExecOutcome::kDone);
  CHECK_FALSE(core.finished());
  core.on_settled(ExecOutcome::kLost);
  CHECK(core.finished());
  CHECK(core.tally().text() == "1 message done, 1 given back, 1 done too late: others get or got them");
}

TEST_CASE("after a stop nothing is asked for and what runs is waited for", "[client][cli]") {
  ExecCore core(UINT64_MAX, 4);
  core.on_asked();
  core.on_received(1);
  core.stop();
  CHECK(core.wanted() == 0);
  CHECK_FALSE(core.finished());
  core.on_settled(ExecOutcome::kDone);
  CHECK(core.finished());
}

TEST_CASE("the exit code tells all, a part, none and nothing there apart", "[client][cli]") {
  CHECK(tally(5, 0, 0).exit_code() == kExitOk);
  CHECK(tally(5, 1, 0).exit_code() == kExitPartly);
  CHECK(tally(5, 0, 1).exit_code() == kExitPartly);
  CHECK(tally(0, 2, 0).exit_code() == kExitError);
  CHECK(tally(0, 0, 1).exit_code() == kExitError);
  CHECK(tally(0, 0, 0).exit_code() == kExitNothing);
}

}  // namespace dmq::cli
