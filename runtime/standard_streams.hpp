// What stands in for standard input, output and error when a program is started without them.
#pragma once

namespace dmq {

// Takes the numbers 0, 1 and 2 as far as they are free, so that nothing that is opened later gets one of them: a log
// line would go into the store, a message into a socket. Reading and writing there fails as it does on a closed
// descriptor. Call it first in main. Without effect when the three are open.
void hold_standard_streams();

}  // namespace dmq
