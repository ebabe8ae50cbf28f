// The snapshotters, by name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "bin/skiffd/settings.h"
#include "snapshot/snapshotter.h"
#include "sys/file.h"

namespace skiff::metadata {
class Store;
}

namespace skiff::daemon {

// A snapshotter with what the seam does not have.
struct Driver {
  std::unique_ptr<snapshot::Snapshotter> snapshotter;
  // Puts right what a crash left.
  std::function<Status(const Context&)> recover;
  // Looks anew which layers may not be on the disk; nothing stands on those from then on. Empty for
  // a proxy.
  std::function<Status(const Context&)> find_suspects;
  // Removes what a tombstone of its own stands for.
  std::function<Status(const Context&, const std::string& kind, const std::string& path)>
      remove_files;
  std::function<Result<std::vector<Finding>>(const Context&)> fsck;
  // Where a layer's own files lie; empty for a proxy.
  std::function<sys::Path(int64_t id)> layer_folder;
};

// All that are configured, the default first. Only the default must work here: the others are
// opened so that what a former default made can still be read and removed.
Result<std::vector<Driver>> open_drivers(const Settings& settings, metadata::Store& store);

// An external snapshotter. Unimplemented in a build without gRPC.
Result<Driver> open_proxy(metadata::Store& store, const std::string& name,
                          const Settings::Proxy& proxy);

}  // namespace skiff::daemon
