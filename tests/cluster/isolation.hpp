// Namespaces of this process's own: a network with a place for each program, cut as wished, and mounts.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace dmq::cluster {

// This process stands on a bridge, and each place behind a pair of virtual interfaces. All of it is gone with the last
// process in it, however that ends. Not thread-safe.
//
//   this process ---- bridge ---- place 0: 10.213.0.2
//   10.213.0.1          '-------- place 1: 10.213.0.3 ...
class Isolation {
 public:
  // Moves this process to namespaces of its own: as root, or as whoever may have a user namespace. Empty, and the
  // process where it was, when the system does not allow it or has no `ip` and `nft`; `reason` says which.
  // REQUIRES: no other thread runs.
  static std::unique_ptr<Isolation> make(std::size_t places, std::string& reason);
  ~Isolation();
  Isolation(const Isolation&) = delete;
  Isolation& operator=(const Isolation&) = delete;

  std::size_t places() const { return networks_.size(); }
  // Descriptor of the place's network namespace.
  int network(std::size_t place) const { return networks_[place]; }
  std::string address(std::size_t place) const;
  static std::string own_address() { return "10.213.0.1"; }
  // What those at the addresses `from` send to a place is dropped, until mend(). Place places() is this process.
  void cut(std::size_t to, const std::vector<std::string>& from);
  void mend();
  // Puts a file system of its own, in memory, on the folder. False when it cannot.
  static bool mount_small_disk(const std::string& folder, std::size_t bytes);

 private:
  Isolation() = default;
  static std::unique_ptr<Isolation> move_there(std::size_t places);
  bool add_place();

  std::vector<int> networks_;
  std::vector<bool> cut_;  // per place, and this process last
};

}  // namespace dmq::cluster
