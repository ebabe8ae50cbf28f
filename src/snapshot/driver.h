// How a LocalSnapshotter keeps its folders: a layer is <root>/snapshots/<driver>/<id>, and the
// driver alone knows what lies in there.
//
// Thread-safe. No driver knows rows or namespaces. Folders survive a crash as the file system does
// it; make and remove may be cut short anywhere and are then undone by remove.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "snapshot/snapshotter.h"
#include "sys/file.h"

namespace skiff::snapshot {

// A snapshot as a driver sees it.
struct Place {
  int64_t id = 0;
  Kind kind = Kind::kActive;
  std::vector<int64_t> parents;  // nearest first
};

class Driver {
 public:
  virtual ~Driver() = default;
  virtual const std::string& name() const = 0;
  virtual Capabilities capabilities() const = 0;
  // Makes the folder of a new active or view snapshot, replacing one that a crash left.
  virtual Status make(const Context& context, const Place& place) = 0;
  virtual std::vector<Mount> mounts(const Place& place) const = 0;
  // Where a layer's own files lie.
  virtual sys::Path layer_folder(int64_t id) const = 0;
  // After an active snapshot was committed: what only a writer needed may go.
  virtual void seal(int64_t id) = 0;
  virtual Status remove(int64_t id) = 0;
  // What is wrong with the folder of a snapshot that has a row.
  virtual std::optional<Finding> check(const Place& place) const = 0;
};

}  // namespace skiff::snapshot
