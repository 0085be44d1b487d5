// unshare, ip and nft behind isolation.hpp.
#include "tests/cluster/isolation.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <utility>

#include "tests/cluster/command.hpp"

namespace dmq::cluster {
namespace {

constexpr const char* kFilter =
    "add table inet cut; add set inet cut from { type ipv4_addr; }; "
    "add chain inet cut input { type filter hook input priority 0; policy accept; }; "
    "add rule inet cut input ip saddr @from drop";

// True: the tool ended with 0, in this process's network or in the one that is named.
bool run(std::vector<std::string> arguments, int network = -1) {
  Command command;
  command.arguments = std::move(arguments);
  command.network = network;
  command.output = "/dev/null";
  return run_command(command) == 0;
}

bool write_file(const char* path, const std::string& text) { return bool(std::ofstream(path) << text << std::flush); }

bool leave_for_new_namespaces() {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare((user == 0 ? 0 : CLONE_NEWUSER) | CLONE_NEWNET | CLONE_NEWNS) != 0) return false;
  if (user != 0 && !(write_file("/proc/self/setgroups", "deny") &&
                     write_file("/proc/self/uid_map", "0 " + std::to_string(user) + " 1") &&
                     write_file("/proc/self/gid_map", "0 " + std::to_string(group) + " 1"))) {
    return false;
  }
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// A process that only holds a new network namespace until it is let go.
class Holder {
 public:
  Holder() {
    int ready[2];
    if (::pipe2(ready, O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      const char done = ::unshare(CLONE_NEWNET) == 0 ? 1 : 0;
      if (::write(ready[1], &done, 1) == 1) ::pause();
      ::_exit(0);
    }
    ::close(ready[1]);
    char done = 0;
    good_ = pid_ > 0 && ::read(ready[0], &done, 1) == 1 && done == 1;
    ::close(ready[0]);
  }
  ~Holder() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  bool good() const { return good_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool good_ = false;
};

}  // namespace

std::unique_ptr<Isolation> Isolation::make(std::size_t places, std::string& reason) {
  // A child tries it first: there is no way back out of a user namespace.
  const pid_t child = ::fork();
  if (child == 0) ::_exit(move_there(places) != nullptr ? 0 : 1);
  int status = 0;
  if (child > 0 && ::waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    if (auto made = move_there(places)) return made;
  }
  reason = "no network namespaces, or no ip and nft";
  return nullptr;
}

std::unique_ptr<Isolation> Isolation::move_there(std::size_t places) {
  if (!leave_for_new_namespaces() || !run({"ip", "link", "set", "lo", "up"}) ||
      !run({"ip", "link", "add", "hub", "type", "bridge"}) ||
      !run({"ip", "address", "add", own_address() + "/24", "dev", "hub"}) || !run({"ip", "link", "set", "hub", "up"}) ||
      !run({"nft", kFilter})) {
    return nullptr;
  }
  std::unique_ptr<Isolation> made(new Isolation());
  while (made->places() < places) {
    if (!made->add_place()) return nullptr;
  }
  made->cut_.resize(places + 1, false);
  return made;
}

bool Isolation::add_place() {
  const std::string port = "port" + std::to_string(places());
  const Holder holder;
  if (!holder.good() || !run({"ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns",
                              std::to_string(holder.pid())})) {
    return false;
  }
  const int network = ::open(("/proc/" + std::to_string(holder.pid()) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  if (network < 0) return false;
  networks_.push_back(network);
  return run({"ip", "link", "set", port, "master", "hub", "up"}) &&
         run({"ip", "address", "add", address(places() - 1) + "/24", "dev", "eth0"}, network) &&
         run({"ip", "link", "set", "lo", "up"}, network) && run({"ip", "link", "set", "eth0", "up"}, network) &&
         run({"nft", kFilter}, network);
}

Isolation::~Isolation() {
  for (const int network : networks_) ::close(network);
}

std::string Isolation::address(std::size_t place) const { return "10.213.0." + std::to_string(place + 2); }

void Isolation::cut(std::size_t to, const std::vector<std::string>& from) {
  if (from.empty()) return;
  std::string all;
  for (const std::string& address : from) all += (all.empty() ? "" : ", ") + address;
  if (!run({"nft", "add element inet cut from { " + all + " }"}, to < places() ? networks_[to] : -1)) {
    throw std::runtime_error("nft does not cut off place " + std::to_string(to));
  }
  cut_[to] = true;
}

void Isolation::mend() {
  for (std::size_t place = 0; place < cut_.size(); ++place) {
    if (cut_[place] && !run({"nft", "flush set inet cut from"}, place < places() ? networks_[place] : -1)) {
      throw std::runtime_error("nft does not mend place " + std::to_string(place));
    }
    cut_[place] = false;
  }
}

bool Isolation::mount_small_disk(const std::string& folder, std::size_t bytes) {
  const std::string options = "size=" + std::to_string(bytes);
  return ::mount("dmq-test", folder.c_str(), "tmpfs", 0, options.c_str()) == 0;
}

}  // namespace dmq::cluster
