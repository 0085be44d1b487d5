// See open_files.hpp.
#include "runtime/open_files.hpp"

#include <sys/resource.h>

namespace dmq {

void raise_open_files_limit() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);  // what cannot be had is done without
}

}  // namespace dmq
