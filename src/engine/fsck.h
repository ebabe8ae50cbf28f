// Checks that what the store says and what lies on disk and in the kernel are the same, both ways.
// Reads only. Safe beside a running daemon: what seems wrong is looked at twice before it counts.
//
// Each folder checks its own (the database, blobs and ingests, layers); this puts their findings
// together and adds those of containers: rows, bundles, processes, mounts and cgroups.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "sys/file.h"

namespace skiff::metadata {
class Store;
}
namespace skiff::runtime {
class ShimManager;
}

namespace skiff::engine {

struct FsckParts {
  metadata::Store& store;
  runtime::ShimManager& shims;
  sys::Path root;             // <root>: nothing stays mounted below it
  sys::Path state;            // <state>: only running containers' root file systems are
  std::string cgroup_parent;  // "/skiff"
  std::vector<std::string> snapshotters;
  // The other folders' checks: of the database, of blobs, of each snapshotter's layers.
  using Check = std::function<Result<std::vector<Finding>>(const Context&, bool deep)>;
  std::vector<Check> checks;
};

struct FsckReport {
  std::vector<Finding> findings;
  uint64_t blobs = 0, layers = 0, containers = 0;  // looked at
  uint64_t hashed_bytes = 0;                       // with deep
};

// `deep` also reads every blob and compares its digest. An Error only when it could not look.
// Kinds found here: container-lost (said to run, but its process is gone), container-half-made,
// container-snapshot-missing, bundle-stray, mount-stray, cgroup-stray.
Result<FsckReport> fsck(const Context& context, const FsckParts& parts, bool deep);

}  // namespace skiff::engine
