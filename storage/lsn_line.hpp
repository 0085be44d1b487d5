// Places of the log in order, cheap where they come in order: 8 bytes each.
#pragma once

#include <deque>
#include <set>
#include <unordered_set>
#include <vector>

#include "protocol/ids.hpp"
#include "storage/state_page.hpp"

namespace dmq {

// Knows no clock and no I/O. Not thread-safe.
class LsnLine {
 public:
  // It is not in the line.
  void insert(Lsn lsn, bool fresh);  // `fresh`: those before it mostly came before it
  bool empty() const { return fresh_.empty() && others_.empty(); }
  std::size_t size() const { return fresh_.size() - gone_.size() + others_.size(); }
  Lsn first() const;  // REQUIRES: not empty
  void pop();         // first()
  bool remove(Lsn lsn);
  bool contains(Lsn lsn) const { return others_.contains(lsn) || has_fresh(lsn); }
  void all(std::vector<Lsn>& out) const;
  void add_to(PageBuilder& page) const;
  bool is_sound() const;  // O(n)

 private:
  bool has_fresh(Lsn lsn) const;
  void skip_gone();

  std::deque<Lsn> fresh_;         // ascending
  std::unordered_set<Lsn> gone_;  // in `fresh_`, but not there any more; never its front
  std::set<Lsn> others_;
};

}  // namespace dmq
