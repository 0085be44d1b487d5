// See cluster.hpp.
#include "tests/cluster/cluster.hpp"

#include <sys/mount.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace dmq::cluster {
namespace {

std::string new_directory() {
  std::string path = (std::filesystem::temp_directory_path() / "dmq-cluster-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a directory like " + path);
  return path;
}

// In place: programs have the file in their memory.
void write_clock(const std::string& path, std::chrono::nanoseconds off) {
  const std::int64_t value = off.count();
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  if (!file) file.open(path, std::ios::out | std::ios::binary);
  file.write(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

Cluster::Cluster(Layout layout, std::vector<std::string> worker_flags, Ground ground)
    : worker_flags_(std::move(worker_flags)), ground_(ground), directory_(new_directory()) {
  if (layout == Layout::kBroker) {
    add_broker();
  } else if (layout == Layout::kDaemons) {
    add_daemons(3, 2, {});
  } else {
    add_daemons(5, 3, {"--replicas", "3", "--min-in-sync", "2"});
    spare_ = &add_worker(6);
  }
}

Cluster::~Cluster() {
  daemons_.clear();
  std::error_code ignored;
  const std::string disk = directory_ + "/storage-5";
  if (cramped_ != nullptr) {
    // What is on a disk of ours is gone with this process.
    if (keep_) std::filesystem::copy(disk, disk + ".kept", std::filesystem::copy_options::recursive, ignored);
    ::umount(disk.c_str());
  }
  if (!keep_) std::filesystem::remove_all(directory_, ignored);
}

std::string Cluster::new_endpoint() const {
  const std::string host = ground_.isolation ? ground_.isolation->address(daemons_.size()) : "127.0.0.1";
  return "tcp://" + host + ":" + std::to_string(support::free_port());
}

Daemon& Cluster::add(const std::string& name, const std::string& program, std::vector<std::string> flags) {
  flags.insert(flags.begin(), support::program_beside(program));
  support::Surroundings surroundings;
  if (ground_.isolation != nullptr) surroundings.network = ground_.isolation->network(daemons_.size());
  daemons_.push_back(std::make_unique<Daemon>(name, std::move(flags), directory_ + "/" + name + ".log"));
  Daemon& added = *daemons_.back();
  if (ground_.preload) preload(added, surroundings);
  added.surround(std::move(surroundings));
  return added;
}

void Cluster::preload(Daemon& daemon, support::Surroundings& surroundings) const {
  std::filesystem::create_directory(journals(daemon));
  set_clock(daemon, {});
  surroundings.variables = {"LD_PRELOAD=" + support::program_beside("libdmq-preload.so"),
                            "DMQ_TEST_CLOCK=" + data(daemon) + ".clock", "DMQ_TEST_JOURNAL=" + journals(daemon)};
}

void Cluster::set_clock(const Daemon& daemon, std::chrono::nanoseconds off) const {
  write_clock(data(daemon) + ".clock", off);
}

Daemon& Cluster::daemon(const std::string& name) {
  for (auto& daemon : daemons_) {
    if (daemon->name() == name) return *daemon;
  }
  throw std::runtime_error("there is no " + name);
}

void Cluster::add_broker() {
  endpoints_.push_back(new_endpoint());
  add("broker", "dmq-broker", {"--data", directory_ + "/data", "--listen", endpoints_[0], "--admin", ""});
}

void Cluster::add_daemons(int workers, int routers, std::vector<std::string> metad_flags) {
  metad_ = new_endpoint();
  metad_flags.insert(metad_flags.end(), {"--data", directory_ + "/metad", "--listen", metad_, "--feed", new_endpoint(),
                                         "--heartbeat", "300ms"});
  add("metad", "dmq-metad", std::move(metad_flags));
  for (int i = 1; i <= workers; ++i) {
    Daemon& worker = add_worker(i);
    if (i != workers || ground_.small_disk_bytes == 0) continue;
    std::filesystem::create_directory(data(worker));
    if (Isolation::mount_small_disk(data(worker), ground_.small_disk_bytes)) cramped_ = &worker;
  }
  for (int i = 1; i <= routers; ++i) {
    endpoints_.push_back(new_endpoint());
    add("router-" + std::to_string(i), "dmq-router", {"--listen", endpoints_.back(), "--metad", metad_});
  }
}

Daemon& Cluster::add_worker(int number) {
  const std::string name = "storage-" + std::to_string(number);
  std::vector<std::string> flags = worker_flags_;
  flags.insert(flags.end(),
               {"--data", directory_ + "/" + name, "--listen", new_endpoint(), "--metad", metad_, "--name", name});
  return add(name, "dmq-storage", std::move(flags));
}

void Cluster::start() {
  for (auto& daemon : daemons_) {
    if (daemon.get() != spare_) daemon->start();
  }
}

std::string Cluster::await_listening() {
  for (auto& daemon : daemons_) {
    if (daemon->running() && !daemon->await_listening()) return daemon->name();
  }
  return {};
}

}  // namespace dmq::cluster
