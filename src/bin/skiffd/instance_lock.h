// One daemon a folder: a lock that the kernel gives back when its holder dies, however it dies.
#pragma once

#include "base/error.h"
#include "sys/fd.h"
#include "sys/file.h"

namespace skiff::daemon {

// Held until the fd closes. FailedPrecondition names the folder and the pid of the other daemon.
Result<sys::UniqueFd> lock_folder(const sys::Path& folder);

}  // namespace skiff::daemon
