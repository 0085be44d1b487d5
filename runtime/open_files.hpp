// How many connections a daemon can hold.
#pragma once

namespace dmq {

// Raises the limit of open files to what the system allows this process: each client's connection is one, and the
// usual first limit of 1,024 turns further ones away without a word. Before threads; for programs, not for libraries.
void raise_open_files_limit();

}  // namespace dmq
