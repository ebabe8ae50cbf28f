// Garbage collection: mark and sweep over images, leases, blobs, snapshots and ingests.
//
// Mark runs on one read snapshot and blocks no writer. Roots: images, containers' snapshots, leases
// that have not expired (and what they hold), rows with the label containerd.io/gc.root. Edges: an
// image's target; content labels containerd.io/gc.ref.content[.*] and gc.ref.snapshot.<snapshotter>;
// a snapshot's parent; images' labels alike. Labels containerd.io/gc.expire and gc.flat as in
// containerd's documents.
// Sweep: each row is deleted in a short transaction of its own that first checks again that nothing
// points at it, no lease holds it, and it was not touched since the mark (prepare, commit, put and
// lease-add touch). Files go after rows, by tombstones (sweep_tombstones), outside any lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "base/context.h"
#include "metadata/store.h"

namespace skiff::metadata {

struct GcStats {
  uint64_t blobs = 0;
  uint64_t snapshots = 0;
  uint64_t ingests = 0;
  uint64_t leases = 0;
  std::chrono::nanoseconds mark{};
  std::chrono::nanoseconds sweep{};
};

// One collection. Safe beside any other work; two at once are one after the other.
Result<GcStats> collect(const Context& context, Store& store);

// Removes what tombstones stand for. `remove` deletes one tombstone's files (kind, path) and is
// called without any lock or transaction; a failure keeps the tombstone for the next round.
Status sweep_tombstones(
    const Context& context, Store& store,
    const std::function<Status(const std::string& kind, const std::string& path)>& remove);

}  // namespace skiff::metadata
