// Checks that what the store says and what lies on disk and in the kernel are the same, both ways:
// the database itself, blobs, ingests, layers, mounts, leases, tombstones, intents, containers,
// their bundles and cgroups. Reads only.
//
// Works beside a running daemon: what changes while it looks is looked at twice before it counts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/finding.h"
#include "sys/file.h"

namespace skiff::metadata {
class Store;
}

namespace skiff::engine {

struct FsckParts {
  metadata::Store& store;
  sys::Path root;             // <root>
  sys::Path state;            // <state>
  std::string cgroup_parent;  // "/skiff"
  // Local snapshotters, whose folders lie below <root>/snapshots/<name>.
  std::vector<std::string> snapshotters;
};

struct FsckReport {
  std::vector<Finding> findings;
  uint64_t blobs = 0, layers = 0, containers = 0;  // looked at
  uint64_t hashed_bytes = 0;                       // with deep
};

// `deep` also reads every blob and compares its digest. An Error only when it could not look.
Result<FsckReport> fsck(const Context& context, const FsckParts& parts, bool deep);

}  // namespace skiff::engine
