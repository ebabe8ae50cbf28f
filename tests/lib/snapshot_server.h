// An external snapshotter for tests: containerd's snapshots service on a unix socket, in this
// process, over any Snapshotter; with a MemorySnapshotter that has remote layers it plays a remote
// one. Namespaces of callers are ignored, as real ones do.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "snapshot/snapshotter.h"

namespace skiff::testing {

// Thread-safe.
class SnapshotServer {
 public:
  // Serves until its end. `backend` must outlive it.
  SnapshotServer(snapshot::Snapshotter& backend, const sys::Path& socket);
  ~SnapshotServer();

  // Every call so far: "Prepare skiff/1/active", "List".
  std::vector<std::string> calls() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace skiff::testing
