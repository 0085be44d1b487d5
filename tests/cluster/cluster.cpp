// See cluster.hpp.
#include "tests/cluster/cluster.hpp"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace dmq::cluster {
namespace {

std::string new_directory() {
  std::string path = (std::filesystem::temp_directory_path() / "dmq-cluster-XXXXXX").string();
  if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("cannot make a directory like " + path);
  return path;
}

std::string new_endpoint() { return "tcp://127.0.0.1:" + std::to_string(support::free_port()); }

}  // namespace

Cluster::Cluster(Layout layout, std::vector<std::string> worker_flags)
    : worker_flags_(std::move(worker_flags)), directory_(new_directory()) {
  if (layout == Layout::kBroker) {
    add_broker();
  } else if (layout == Layout::kDaemons) {
    add_daemons(3, 2, {});
  } else {
    add_daemons(5, 3, {"--replicas", "3", "--min-in-sync", "2"});
  }
}

Cluster::~Cluster() {
  daemons_.clear();
  std::error_code ignored;
  if (!keep_) std::filesystem::remove_all(directory_, ignored);
}

void Cluster::add(const std::string& name, const std::string& program, std::vector<std::string> flags) {
  flags.insert(flags.begin(), support::program_beside(program));
  daemons_.push_back(std::make_unique<Daemon>(name, std::move(flags), directory_ + "/" + name + ".log"));
}

void Cluster::add_broker() {
  endpoints_.push_back(new_endpoint());
  add("broker", "dmq-broker", {"--data", directory_ + "/data", "--listen", endpoints_[0], "--admin", ""});
}

void Cluster::add_daemons(int workers, int routers, std::vector<std::string> metad_flags) {
  const std::string metad = new_endpoint();
  metad_flags.insert(metad_flags.end(), {"--data", directory_ + "/metad", "--listen", metad, "--feed", new_endpoint(),
                                         "--heartbeat", "300ms"});
  add("metad", "dmq-metad", std::move(metad_flags));
  for (int i = 1; i <= workers; ++i) {
    const std::string name = "storage-" + std::to_string(i);
    std::vector<std::string> flags = worker_flags_;
    flags.insert(flags.end(),
                 {"--data", directory_ + "/" + name, "--listen", new_endpoint(), "--metad", metad, "--name", name});
    add(name, "dmq-storage", std::move(flags));
  }
  for (int i = 1; i <= routers; ++i) {
    endpoints_.push_back(new_endpoint());
    add("router-" + std::to_string(i), "dmq-router", {"--listen", endpoints_.back(), "--metad", metad});
  }
}

void Cluster::start() {
  for (auto& daemon : daemons_) daemon->start();
}

std::string Cluster::await_listening() {
  for (auto& daemon : daemons_) {
    if (!daemon->await_listening()) return daemon->name();
  }
  return {};
}

}  // namespace dmq::cluster
