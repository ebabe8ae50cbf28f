#pragma once

#include "bin/skiffd/settings.h"

namespace skiff::daemon {

// What concerns the process as such: file mode mask, limit of open files, OOM score, memory
// allocator. Once, before other threads.
void set_up_process(const Settings& settings);

// Gives memory that is free inside the process back to the kernel. Takes some milliseconds.
void release_memory();
// The same some seconds from now, once however often it is asked for until then. Thread-safe.
void release_memory_soon();

// Ends the process the hard way when the stop takes longer than this: a bound for what hangs in the
// kernel.
void bound_stop(unsigned seconds);

}  // namespace skiff::daemon
