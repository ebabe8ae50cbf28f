// What containerd runs around a shim's life: `start` leaves one behind and prints its address,
// `delete` clears away after one that died.
#pragma once

#include "base/error.h"
#include "bin/skiff-shim/arguments.h"

namespace skiff::shim {

// The descriptor on which `serve` finds its listening socket.
inline constexpr int kListenerFd = 3;

Status run_start(const Arguments& arguments);
Status run_delete(const Arguments& arguments);
// Prints containerd.runtime.v1's RuntimeInfo.
Status run_info();

}  // namespace skiff::shim
