// A mutex, a condition and one job slot.
#include "storage/committer.hpp"

#include "storage/log.hpp"

namespace dmq {

Committer::Committer(Log& log) : log_(log), thread_([this] { run(); }) {}

Committer::~Committer() {
  post(Job::kStop, nullptr);
  thread_.join();
}

void Committer::start(const Turn& turn) {
  busy_ = true;
  post(Job::kCommit, &turn);
}

void Committer::start_sync() {
  busy_ = true;
  post(Job::kSync, nullptr);
}

void Committer::post(Job job, const Turn* turn) {
  {
    const std::lock_guard lock(mutex_);
    job_ = job;
    turn_ = turn;
  }
  changed_.notify_all();
}

std::optional<Result<void>> Committer::take_result() {
  if (!busy_) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (!result_) return std::nullopt;
  done_.clear();
  busy_ = false;
  auto result = std::move(result_);
  result_.reset();
  return result;
}

Result<void> Committer::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return result_.has_value(); });
  done_.clear();
  busy_ = false;
  auto result = std::move(*result_);
  result_.reset();
  return result;
}

void Committer::run() {
  for (;;) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return job_ != Job::kNone; });
    const Job job = job_;
    const Turn* const turn = turn_;
    job_ = Job::kNone;
    lock.unlock();
    if (job == Job::kStop) return;
    auto result = job == Job::kCommit ? log_.commit(turn->effects, turn->writes) : log_.sync();
    lock.lock();
    result_ = std::move(result);
    lock.unlock();
    changed_.notify_all();
    done_.raise();
  }
}

}  // namespace dmq
