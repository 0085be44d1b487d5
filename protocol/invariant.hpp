// What must hold in a core, checked in every build: a broken invariant ends the program before it does harm.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace dmq {

// Never for input from outside: that gets an Error.
inline void check_invariant(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken invariant: %s\n", what);
  std::abort();
}

}  // namespace dmq
