// The daemon as a whole: what runs, in which order it starts and stops.
#pragma once

#include "base/error.h"

namespace skiff::daemon {

struct Settings;

// From start to stop: returns when SIGTERM or SIGINT came and all has ended in order, or with the
// reason why it could not start or go on. Call it on the main thread before any other is started.
Status run(const Settings& settings);

}  // namespace skiff::daemon
