// See pacer.hpp.
#include "clients/cli/pacer.hpp"

#include <algorithm>

namespace dmq::cli {
namespace {

constexpr std::chrono::milliseconds kLateMax{20};  // what a busy machine takes; made up for

}  // namespace

Pacer::Pacer(double rate, Clock::time_point start)
    : interval_(rate > 0 ? std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(1 / rate))
                         : Clock::duration::zero()),
      due_(start) {}

void Pacer::on_sent(Clock::time_point now) { due_ = std::max(due_, now - kLateMax) + interval_; }

}  // namespace dmq::cli
