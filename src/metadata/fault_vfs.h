// A layer below SQLite that tests put between it and the disk: it makes writes and syncs fail, and
// keeps what a power loss would leave (each file as it was at its last sync). Tests only.
#pragma once

#include <atomic>
#include <memory>

#include "sys/file.h"

namespace skiff::metadata {

// The process's default while it lives; one at a time, opened files closed before it goes.
class FaultVfs {
 public:
  FaultVfs();
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;

  // SQLite's code (SQLITE_FULL, SQLITE_IOERR_WRITE, ...) for every write or sync from now on; 0:
  // none.
  std::atomic<int> write_error = 0;
  std::atomic<int> sync_error = 0;
  std::atomic<int> syncs = 0;
  // Where each file's state at its last sync is copied to; empty: nowhere. Set before opening.
  sys::Path synced;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skiff::metadata
